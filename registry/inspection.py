"""What a push would store: the weights chosen, the class asked, the names decided. Nothing is written here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from registry.canonical.form import Clues, Form, is_extra_state
from registry.canonical.match import fits
from registry.canonical.remarks import remarks
from registry.canonical.wrappers import parse_declaration
from registry.checkpoints.choosing import choose
from registry.checkpoints.documents import Documents
from registry.checkpoints.inventory import identities, left_out, said, tensors_of
from registry.checkpoints.opening import open_checkpoint
from registry.checkpoints.quantized import unscaled
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.canonical import ClassMismatch, ContradictedTie, ShapesDiffer
from registry.errors.intake import InitInFile, NoInitInFile
from registry.errors.libraries import (
    BuilderMismatch,
    BuilderNotApplicable,
    LibraryMissing,
    LibraryRefused,
    ScalesMissing,
)
from registry.errors.models import ConstructorFailed, InitRefused, ModelError
from registry.errors.parts import NoParts
from registry.modules.builders.table import MAIN, NONE, check_builder, library, of_class
from registry.modules.building.alteration import alterations, is_broken
from registry.modules.building.offer import as_options
from registry.modules.building.recipe import Recipe, of_file, of_folder, of_live, of_parts, read_init, read_model
from registry.modules.judging import formed, refused, without_unexpected
from registry.tensors.arguments import UNKNOWN
from registry.tensors.source import TensorSource
from registry.tensors.ties import tied

if TYPE_CHECKING:
    from torch import nn

    from registry.canonical.expectation import Expectation
    from registry.modules.building.build import Built
    from registry.modules.building.specification import Constructs


@dataclass(frozen=True)
class Question:
    """What the user said about a checkpoint, in the words of ``push`` and ``inspect``."""

    from_: str | None = None
    model: str | Mapping[str, str] | None = None
    """Its class, or that of each part."""
    init: Mapping[str, Any] | None = None
    init_as: str | None = None
    weights: str | Mapping[str, str] | None = None
    """Which set of weights; or which are the parts of the version, by the part's name."""
    init_from_file: bool = False
    builder: str | None = None
    """One that the user named, or ``"none"``; by default the one whose library wrote the folder or made the model."""
    allow_unexpected: tuple[str, ...] = ()
    """Patterns of names that the class may not have, and that are then left out."""
    builds: bool = True
    """Whether the builder of a folder is asked; otherwise it is recorded, and the first load finds out."""

    @property
    def is_silent(self) -> bool:
        """Whether it says nothing of how the model is made."""
        return self.model is None and self.init is None and self.init_as is None and not self.init_from_file

    @classmethod
    def of(
        cls,
        from_: str | None,
        model: object,
        init: object,
        init_as: str | None,
        weights: str | Mapping[str, str] | None,
        init_from_file: bool = False,
        builder: str | None = None,
        allow_unexpected: Sequence[str] = (),
    ) -> Question:
        """Read what a verb was called with.

        Raises:
            UnusableModel, UnusableInit, UnknownInitStyle: an argument is of another kind than it takes.
            UnknownBuilder: there is no such builder.
        """
        named = check_builder(builder) if builder is not None else None
        made = read_model(model), *read_init(init, init_as)
        return cls(from_, *made, weights, init_from_file, named, tuple(allow_unexpected))


@dataclass(frozen=True)
class Inspection:
    """A dry run of a push: what is in the checkpoint and what its names become."""

    checkpoint: Checkpoint
    weights: WeightSet
    form: Form
    spec: Constructs | None
    probe: Built | None
    """What was made of the class, to ask it for its names; its parameters may have no values."""
    expectation: Expectation | None
    notes: tuple[str, ...]
    recipe: Recipe = field(default_factory=Recipe)
    """How the model is made, as it is stored."""
    documents: Documents = field(default_factory=Documents)
    """The plain files that are kept beside the weights."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What bears tensors and is not stored: the number of tensors by the way to the part."""

    def accounted(self, kept: Iterable[Any] = ()) -> Inspection:
        """Return it with everything named that is not stored.

        Args:
            kept: the tensors of the training state that is.
        """
        checkpoint, weights = self.checkpoint, self.weights
        stored = identities([*weights.tensors.values(), *(t for _, t in tensors_of(dict(weights.values))), *kept])
        values: dict[tuple[str, ...], Any] = {(): checkpoint.contents}
        values.update({(f"/{path}",): value for path, value in checkpoint.beside.items()})
        parts = left_out(values, stored)
        return replace(self, left_out=parts, notes=(*self.notes, *filter(None, [said(parts)])))

    @property
    def tensors(self) -> dict[str, TensorSource]:
        """The tensors by canonical name; a tied name that the file dropped has the source of the kept one."""
        tensors = {canonical: self.weights.tensors[name] for name, canonical in self.form.tensors.items()}
        tensors.update({name: tensors[kept] for name, kept in self.form.restored.items()})
        order = {name: i for i, name in enumerate(self.expectation.tensors)} if self.expectation else {}
        return dict(sorted(tensors.items(), key=lambda item: order.get(item[0], len(order))))

    @property
    def extra_states(self) -> dict[str, Any]:
        """The values that go back into modules, by canonical name."""
        values = self.form.values.items()
        return {new: self.weights.values[name] for name, new in values if is_extra_state(new)}

    @property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of canonical names that the class holds as one tensor, or the file as one piece of memory."""
        groups = [set(names) for names in tied({name: source.identity for name, source in self.tensors.items()})]
        for tie in self.expectation.ties if self.expectation else ():
            touching = [group for group in groups if group & set(tie)]
            groups = [group for group in groups if group not in touching]
            groups.append(set(tie).union(*touching))
        order = {name: i for i, name in enumerate(self.tensors)}
        return tuple(sorted(tuple(sorted(group & order.keys(), key=order.__getitem__)) for group in groups))


def examine(
    source: str | os.PathLike[str] | nn.Module | Mapping[str, Any],
    question: Question,
    opened: Checkpoint | None = None,
) -> Inspection:
    """Open a checkpoint, choose its weights and decide their canonical names.

    Args:
        opened: the source as a checkpoint, where the ranks of a job had to open it together.

    Raises:
        RegistryError: of ``checkpoints`` (cannot be read), ``models`` (the class), ``canonical`` (the names).
    """
    declared = parse_declaration(question.from_) if question.from_ is not None else None
    checkpoint = opened if opened is not None else open_source(source)
    has_class = question.model is not None or MAIN in checkpoint.documents.config
    weights = choose(checkpoint, question.weights, has_class=has_class)
    if names := unscaled(weights.tensors, checkpoint.documents.config.get(MAIN)):
        raise ScalesMissing(checkpoint.source, names)
    module = None if isinstance(source, (str, os.PathLike, Mapping)) else source
    recipe = _recipe(checkpoint, module, question, weights)
    recipe, (probe, expectation) = _asked(recipe, question)
    spec, documents = recipe.spec, checkpoint.documents
    if expectation is not None and weights.own is not None and not fits(weights.names, expectation, declared):
        weights = weights.own if fits(weights.own.names, expectation, declared) else weights
    if recipe.builder is not None and probe is not None and question.builder != NONE:
        checkpoint, weights, documents = _in_memory(checkpoint, weights, recipe, probe)
    weights, told = without_unexpected(checkpoint, weights, expectation, question.allow_unexpected)
    clues = Clues(
        declared=declared,
        live=checkpoint.live_wrappers if weights.wrappers is None else weights.wrappers,
        is_live=module is not None or weights.wrappers is not None,
        metadata=weights.metadata,
        dropped=weights.aliases,
        expectation=expectation,
        target=spec.target if spec else "the class",
        key=weights.key,
        averages={each.key: each.names for each in checkpoint.weight_sets if each.inside == weights.key},
    )
    with _offering(recipe.offered), _judging(recipe, checkpoint):
        form, expectation, read = formed(checkpoint, weights, clues, probe)
    inspection = Inspection(checkpoint, weights, form, spec, probe, expectation, (), recipe, documents=documents)
    with _judging(recipe, checkpoint):
        _check_ties(inspection)
    if module is not None:
        inspection = _by_library(inspection, module, question)
    why = refused(probe, module, inspection.tensors, inspection.extra_states, inspection.ties, form.metadata)
    asked = spec.target if spec else "the class" if expectation is not None or module is not None else None
    notes = (
        *checkpoint.notes,
        *filter(None, [weights.note]),
        *remarks(form, weights.aliases, asked),
        *inspection.recipe.notes,
        *told,
        *read,
        *why,
    )
    return replace(inspection, notes=(*notes, *alterations(inspection.recipe, inspection.tensors)))


def open_source(source: str | os.PathLike[str] | nn.Module | Mapping[str, Any]) -> Checkpoint:
    """Open a file, a folder, a live model or a mapping.

    Raises:
        RegistryError: of ``checkpoints`` and ``models``.
    """
    if isinstance(source, (str, os.PathLike)):
        return open_checkpoint(source)
    from registry.modules.live import open_live

    if not isinstance(source, Mapping) and _builder_of(source) == "peft":
        from registry.modules.builders.adapters import open_adapter

        return open_adapter(source)
    return open_live(source)


def _builder_of(module: nn.Module) -> str | None:
    from registry.modules.layout import model_class

    return of_class(model_class(module))


def _recipe(checkpoint: Checkpoint, module: nn.Module | None, question: Question, weights: WeightSet) -> Recipe:
    parts: Mapping[str, nn.Module | None] = dict.fromkeys(weights.parts)
    if module is not None and not isinstance(question.model, str):
        from registry.modules.parts import parts_of

        parts = parts_of(module)
    if parts:
        if question.init_from_file:
            raise NoInitInFile(checkpoint.source, "is stored as several models")
        if question.builder not in (None, NONE):
            raise BuilderNotApplicable(str(question.builder), checkpoint.source, "it is stored as several models")
        return of_parts(parts, question.model, question.init, question.init_as, checkpoint.source)
    if isinstance(question.model, Mapping):
        raise NoParts("model=", checkpoint.source)
    said = question.model, question.init, question.init_as
    if module is None and question.is_silent:
        return of_folder(checkpoint, question.builder, builds=question.builds)
    if module is not None and question.is_silent and _builder_of(module) == "peft":
        return Recipe(builder="peft", init_as=UNKNOWN)
    if question.builder not in (None, NONE) and not question.is_silent:
        raise BuilderNotApplicable(str(question.builder), checkpoint.source, "the class is given (--model, --init)")
    if module is None:
        return of_file(checkpoint, *said, init_from_file=question.init_from_file)
    if question.init_from_file:
        raise NoInitInFile(checkpoint.source, "is not a file")
    return of_live(module, *said)


@contextmanager
def _offering(offered: Mapping[str, Any]) -> Iterator[None]:
    """Name what the file offers where the class, without it, cannot be built or wants other tensors."""
    try:
        yield
    except (InitRefused, ConstructorFailed, ClassMismatch, ShapesDiffer) as error:
        if not offered:
            raise
        raise InitInFile(str(error), as_options(offered)) from error


def _asked(recipe: Recipe, question: Question) -> tuple[Recipe, tuple[Built | None, Expectation | None]]:
    """Ask the class, or the library, and return the recipe without a builder where that makes nothing here.

    Raises:
        ModelError: the class makes nothing.
        LibraryMissing, LibraryRefused: the builder that the user named does not.
    """
    if recipe.builder is None:
        with _offering(recipe.offered):
            return recipe, _ask_class(recipe.spec)
    if not question.builds:
        note = f"not checked: the model of {recipe.builder} was not built; a load checks it"
        return replace(recipe, spec=None, notes=(*recipe.notes, note)), (None, None)
    try:
        probe, expectation = _ask_class(recipe.spec)
    except LibraryMissing as error:
        if question.builder is not None:
            raise
        return replace(recipe, spec=None, notes=(f"not checked: {error}",)), (None, None)
    except (LibraryRefused, ModelError) as error:
        if question.builder is not None:
            raise
        note = f"no builder is recorded, so a load needs model=: {error}"
        return Recipe(notes=(note,)), (None, None)
    return recipe if probe is None else replace(recipe, target=_public_name(probe.module)), (probe, expectation)


def _in_memory(
    checkpoint: Checkpoint, weights: WeightSet, recipe: Recipe, probe: Built
) -> tuple[Checkpoint, WeightSet, Documents]:
    """Return a folder's weights as the model of its library holds them."""
    from registry.modules.builders.recognition import in_memory

    spec: Any = recipe.spec
    held, names = in_memory(weights, spec, probe.module, checkpoint.source)
    if not {id(t) for t in held.tensors.values()} <= {id(t) for t in weights.tensors.values()}:  # the library's own
        checkpoint = replace(checkpoint, contents=dict(held.tensors))
    return checkpoint, held, replace(checkpoint.documents, names=names)


@contextmanager
def _judging(recipe: Recipe, checkpoint: Checkpoint) -> Iterator[None]:
    """Say which builder it is where what it makes has other names, shapes or ties."""
    try:
        yield
    except (ClassMismatch, ShapesDiffer, ContradictedTie) as error:
        if recipe.builder is None:
            raise
        raise BuilderMismatch(recipe.builder, checkpoint.source, str(error).partition(";")[0]) from error


def _by_library(inspection: Inspection, module: nn.Module, question: Question) -> Inspection:
    """Return what is known of a live model with its builder, where a library makes that very model.

    Raises:
        BuilderNotApplicable, BuilderMismatch, LibraryMissing, LibraryRefused: the builder that the user named does not.
    """
    found, named = _builder_of(module), question.builder
    if named not in (None, NONE, found):
        raise BuilderNotApplicable(str(named), inspection.checkpoint.source, "its class is not of that library")
    if found is None or named == NONE or not question.is_silent:
        return inspection
    source, recipe = inspection.checkpoint.source, inspection.recipe
    from registry.modules.builders.recognition import described, names_in_files

    if found == "peft":
        return replace(inspection, documents=Documents(config=library(found, source).describe(module)))
    try:
        spec = described(found, module, source, inspection.tensors, inspection.ties)
    except (BuilderMismatch, LibraryMissing, LibraryRefused, ModelError) as error:
        if named is not None:
            raise
        note = f"no builder is recorded, but the class alone: {str(error).partition(';')[0]}"
        return replace(inspection, recipe=replace(recipe, notes=(*recipe.notes, note)))
    made = Recipe(_public_name(module), init_as=UNKNOWN, builder=found)
    documents = Documents(config=spec.config, names=names_in_files(found, module))
    return replace(inspection, recipe=made, documents=documents)


def _public_name(module: nn.Module) -> str | None:
    """Return the target of a library's class, by the name under which the library itself gives it where it does."""
    from registry.modules.building.target import target_of
    from registry.modules.layout import model_class

    kind = model_class(module)
    package = kind.__module__.partition(".")[0]
    is_public = getattr(sys.modules.get(package), kind.__name__, None) is kind
    return f"{package}:{kind.__name__}" if is_public else target_of(kind)[0]


def _ask_class(spec: Constructs | None) -> tuple[Built | None, Expectation | None]:
    """Build the class, if one is known, and return what it wants."""
    if spec is None:
        return None, None
    from registry.modules.building.build import build
    from registry.modules.fitting.expectation import expect

    built = build(spec)
    return built, expect(built.module)


def _check_ties(inspection: Inspection) -> None:
    """Refuse a file in which names that the class ties hold different values."""
    for tie in inspection.expectation.ties if inspection.expectation else ():
        if is_broken(tie, inspection.tensors):
            target = inspection.spec.target if inspection.spec else "the class"
            raise ContradictedTie(inspection.checkpoint.source, target, tie)
