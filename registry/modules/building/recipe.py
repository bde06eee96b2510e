"""With which class and arguments a version is made again: as the push says, as the model remembers, or not known."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from registry.canonical.secrets import without_secrets
from registry.errors.intake import InitWithoutModel, NoInitInFile, UnusableInit, UnusableModel
from registry.errors.libraries import BuilderNotApplicable
from registry.errors.models import UnknownInitStyle, described
from registry.errors.parts import NotByPart, PartsDiffer
from registry.modules.builders.table import NONE, of_config
from registry.modules.building.offer import as_options
from registry.modules.building.trust import BUILDERS
from registry.tensors.arguments import STYLES, UNKNOWN, Arguments
from registry.tensors.part import Part

if TYPE_CHECKING:
    from torch import nn

    from registry.checkpoints.weights import Checkpoint
    from registry.modules.building.constructor import Constructed
    from registry.modules.building.specification import Constructs, ModelSpec


@dataclass(frozen=True)
class Recipe:
    """What is stored of how a model is made."""

    target: str | None = None
    """``"package.module:Class"``, or a function in the place of the class."""
    init: Arguments = field(default_factory=Arguments)
    init_as: str = "kwargs"
    spec: Constructs | None = None
    """What the push builds, to ask the class for its names; with what looks like a secret, too."""
    notes: tuple[str, ...] = ()
    offered: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that a file says it was made with, and that were not asked for."""
    constructed: Constructed | None = None
    """What these arguments made of the class, where a live model remembers it."""
    builder: str | None = None
    """The library's builder that makes it of the configurations beside the weights, in the place of a class."""
    by_part: Mapping[str, Recipe] = field(default_factory=dict)
    """How each model is made, where several are stored as one."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts as a version has them."""
        return tuple(
            Part(name, part.target, part.init if part.init_as != UNKNOWN else None)
            for name, part in self.by_part.items()
        )


def read_init(init: object, init_as: str | None) -> tuple[dict[str, Any] | None, str | None]:
    """Return ``init=`` and ``init_as=`` as a dict and a style, each None where it was not given.

    Raises:
        UnusableInit: it is not a mapping with texts as keys, or a Namespace.
        UnknownInitStyle: there is no such style.
    """
    if init_as is not None and init_as not in STYLES:
        raise UnknownInitStyle(init_as, STYLES)
    if init is None:
        return None, init_as
    if isinstance(init, argparse.Namespace):
        return dict(vars(init)), init_as or "namespace"
    if not isinstance(init, Mapping):
        raise UnusableInit(described(init))
    if wrong := [key for key in init if not isinstance(key, str)]:
        raise UnusableInit(f"a mapping with the key {wrong[0]!r:.40}, which is not text")
    return {key: init[key] for key in init}, init_as


def read_model(model: object) -> str | dict[str, str] | None:
    """Return ``model=`` as ``"package.module:Class"``, or such a text for each part.

    Raises:
        UnusableModel, ModelError: as ``read_class``.
    """
    if not isinstance(model, Mapping):
        return read_class(model)
    return {str(part): found for part, kind in model.items() if (found := read_class(kind)) is not None}


def read_class(model: object) -> str | None:
    """Return a class as ``"package.module:Class"``; a class or function by the name that leads to it.

    Raises:
        UnusableModel: it is something else, or no name leads to it in another process.
        ModelError: the name leads to something else.
    """
    if model is None or isinstance(model, str):
        return model
    if not isinstance(model, type) and not _is_function(model):
        raise UnusableModel(
            described(model), "give its class, or 'package.module:Class', and its constructor arguments with init="
        )
    from registry.modules.building.target import target_of

    target, why = target_of(model)
    if target is None:
        raise UnusableModel(
            f"{getattr(model, '__qualname__', model)}, and {why}", "move it into a module and import it from there"
        )
    return target


def of_file(
    checkpoint: Checkpoint,
    model: str | None,
    init: Mapping[str, Any] | None,
    init_as: str | None,
    *,
    init_from_file: bool = False,
) -> Recipe:
    """Return how the model of a file is made.

    What a file says of itself is a stranger's word. It reaches the class only if that was asked for: a constructor may
    open the path that it is given.

    Raises:
        NoInitInFile: it was asked for, and there is nothing to take or nobody to give it to.
        InitWithoutModel: there are arguments, and no class.
        UnstorableInit: an argument could not be given back as it is.
    """
    if model is None:
        if init_from_file:
            raise NoInitInFile(checkpoint.source, "is pushed without a class that could take constructor arguments")
        if init is not None or init_as is not None:
            raise InitWithoutModel(checkpoint.source)
        return Recipe()
    from registry.modules.building.specification import ModelSpec

    spec = ModelSpec(model, dict(init or {}), init_as or "kwargs")
    if init_from_file and not checkpoint.init:
        raise NoInitInFile(checkpoint.source, "holds no constructor arguments")
    if not checkpoint.init:
        return _known(spec)
    # What a builder imports is named by whoever pushes, and never by the file.
    kept_out = {*spec.init, BUILDERS.get(model)}
    offered = {name: value for name, value in spec.accepted(checkpoint.init).items() if name not in kept_out}
    if not offered:
        return _known(spec)
    if not init_from_file:
        note = f"constructor arguments in the file, not used: {as_options(offered)}; --init-from-file takes them"
        return replace(_known(spec, (note,)), offered=offered)
    # As a load will have them: what is read from a file only stands for a Namespace, a path.
    taken = dict(Arguments.of(offered, model))
    note = f"constructor arguments taken from the file: {', '.join(sorted(taken))}"
    return _known(replace(spec, init={**taken, **spec.init}), (note,))


def of_parts(
    parts: Mapping[str, nn.Module | None], model: object, init: Mapping[str, Any] | None, init_as: str | None, of: str
) -> Recipe:
    """Return how several models are made that are stored as one, each by itself.

    Args:
        parts: each live, or None of a file.
        model: the class of each part of a file, or none at all.
        init: constructor arguments by part.
        of: what the parts are of, for the error.

    Raises:
        NotByPart, PartsDiffer: something is not given by part.
        InitRefused, UnstorableInit: as ``of_live``.
        InitWithoutModel: there are arguments, and no class.
    """
    from registry.modules.building.specification import ModelSpec
    from registry.modules.parts import PartsSpec

    if init_as is not None:
        raise NotByPart("init_as=", repr(init_as), "init={'img': {'args': Namespace(...)}}")
    classes = by_part("model=", model, parts, of, "{'img': 'package.module:Net', ...}") if model is not None else {}
    arguments = arguments_by_part(init, parts, of, some=True)
    recipes = {}
    for name, part in parts.items():
        if part is not None:
            recipes[name] = of_live(part, classes.get(name), arguments.get(name), None)
        elif classes:
            recipes[name] = _known(ModelSpec(classes[name], arguments.get(name, {})))
        elif arguments:
            raise InitWithoutModel(of)
        else:
            recipes[name] = Recipe()
    specs = {name: recipe.spec for name, recipe in recipes.items() if recipe.spec is not None}
    notes = tuple(f"part '{name}': {note}" for name, recipe in recipes.items() for note in recipe.notes)
    return Recipe(spec=PartsSpec(specs) if specs else None, notes=notes, by_part=recipes)


def by_part(
    what: str, given: object, parts: Iterable[str], of: str, example: str, *, some: bool = False
) -> Mapping[str, Any]:
    """Return what was given for each part.

    Args:
        some: whether some of the parts are enough.

    Raises:
        NotByPart: it is not given by part.
        PartsDiffer: it is given for others than there are.
    """
    if not isinstance(given, Mapping):
        raise NotByPart(what, repr(given) if isinstance(given, str) else described(given), example)
    known = list(parts)
    missing = [] if some else [name for name in known if name not in given]
    unknown = [str(name) for name in given if name not in known]
    if missing or unknown:
        raise PartsDiffer(what, of, missing, unknown, known)
    return given


def arguments_by_part(
    init: Mapping[str, Any] | None, parts: Iterable[str], of: str, *, some: bool = False
) -> dict[str, dict[str, Any]]:
    """Return the constructor arguments that were given for each part, by name.

    Raises:
        NotByPart, PartsDiffer: they are given otherwise, or for other parts.
    """
    if init is None:
        return {}
    example = "{'img': {'num_classes': 40}}"
    given = by_part("init=", init, parts, of, example, some=some)
    found = {}
    for name, each in given.items():
        own = vars(each) if isinstance(each, argparse.Namespace) else each
        if not isinstance(own, Mapping):
            raise NotByPart(f"init= of the part '{name}'", described(each), example)
        found[name] = dict(own)
    return found


def of_folder(checkpoint: Checkpoint, builder: str | None, *, builds: bool = True) -> Recipe:
    """Return how the model of a folder is made by the library that wrote its configurations; else nothing is known.

    Args:
        builds: whether the library is going to be asked, which takes torch.

    Raises:
        BuilderNotApplicable: a builder was named, and nothing of its library is there.
    """
    if builder == NONE:
        return Recipe()
    found = of_config(checkpoint.documents.config)
    if builder is not None and found != builder:
        raise BuilderNotApplicable(builder, checkpoint.source, "it has no configuration that the library wrote")
    if found is None or found == "peft" or not builds:  # an adapter is built on its base
        return Recipe(builder=found, init_as=UNKNOWN) if found else Recipe()
    from registry.modules.builders.specification import LibrarySpec

    dtypes = {name: tensor.spec.dtype for name, tensor in checkpoint.weight_sets[0].tensors.items()}
    spec = LibrarySpec(found, checkpoint.documents.config, dtypes, checkpoint.source)
    return Recipe(init_as=UNKNOWN, spec=spec, builder=found)


def of_live(module: nn.Module, model: str | None, init: Mapping[str, Any] | None, init_as: str | None) -> Recipe:
    """Return how a live model is made: with the arguments given, else with those that it remembers.

    Raises:
        InitRefused: the class does not take the arguments.
        UnstorableInit: an argument could not be given back as it is.
    """
    from registry.modules.building.constructor import Call, noted, noted_tensors, takes_nothing
    from registry.modules.building.specification import ModelSpec
    from registry.modules.building.target import resolve_target, target_of
    from registry.modules.layout import bare, model_class

    cls, inner = model_class(module), bare(module)
    live_class, why_not = target_of(cls) if model is None else (None, "")
    target = model or live_class
    needs = f"a load needs a module of it: model={cls.__name__}(...)"
    lost = (f"the class {cls.__name__} is not recorded: {why_not}; {needs}",) if target is None else ()
    constructor: Callable[..., Any] = resolve_target(model) if model is not None else cls
    owner = target or cls.__qualname__
    remembered = noted(inner) if constructor is cls else None
    known = remembered if isinstance(remembered, Arguments) else None
    made = noted_tensors(inner) if known is not None and (init is None or init == dict(known)) else None
    if init is None and known is not None:
        init = dict(known)
    if init is None and takes_nothing(constructor):
        init = {}
    if init is None:
        why = remembered if isinstance(remembered, str) else ""
        note = (
            f"the constructor arguments of {owner} are not known{f' ({why})' if why else ''}, so a load needs init= or "
            "model=; registry.remember(model, ...) or push(..., init={...}) stores them"
        )
        return Recipe(target, init_as=UNKNOWN, notes=(note,) if target else lost)
    style = init_as or "kwargs"
    Call.of(init, style).check(constructor, owner, style)
    if model is not None:
        return _known(ModelSpec(model, init, style))
    kept, notes = _kept(init)
    return Recipe(target, Arguments.of(kept, owner), style, notes=(*lost, *notes), constructed=made if target else None)


def _known(spec: ModelSpec, notes: tuple[str, ...] = ()) -> Recipe:
    kept, secrets = _kept(spec.init)
    return Recipe(spec.target, Arguments.of(kept, spec.target), spec.init_as, spec, (*notes, *secrets))


def _kept(init: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arguments that are stored, and a sentence on those that are not."""
    kept, secrets = without_secrets(init)
    if not secrets:
        return kept, ()
    named = ", ".join(f"'{path}'" for path in secrets)
    return kept, (f"constructor arguments that look like secrets are not stored: {named}; load takes them with init=",)


def _is_function(value: object) -> bool:
    return callable(value) and hasattr(value, "__qualname__") and isinstance(value.__module__, str)
