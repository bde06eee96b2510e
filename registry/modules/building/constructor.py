"""What a constructor takes: its signature asked, and the call made of the arguments by name."""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import textwrap
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.errors.intake import UnstorableInit
from registry.errors.models import InitRefused
from registry.modules.layout import Layout
from registry.tensors.arguments import POSITIONAL, Arguments
from registry.tensors.foreign import MOST_LEVELS
from registry.tensors.memory import dtype_name
from registry.tensors.spec import TensorSpec

NOTED = "_registry_init"
"""On the instance, since copies of a model (``AveragedModel`` makes one) have to know it too. Plain data, since a
pickled module may be opened where this package is not installed: the JSON of the arguments, or why they are unknown;
with the tensors that the constructor made, where they were looked at, in a list of two."""


@dataclass(frozen=True)
class Constructed:
    """The tensors of a state dict as a constructor made them."""

    tensors: Mapping[str, TensorSpec]
    lazy: frozenset[str]
    """Names of those that have no shape before the model has run."""
    ties: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Call:
    """What a constructor is called with."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, init: Mapping[str, Any], style: str) -> Call:
        """Make the call of arguments by name, with containers of its own: constructors take things out of them."""
        own = {name: fresh(value) for name, value in init.items()}
        if style == "namespace":
            return cls((argparse.Namespace(**own),), {})
        if style == "dict":
            return cls((own,), {})
        return cls(tuple(own.pop(POSITIONAL, ())), own)

    def check(self, constructor: Callable[..., Any], target: str, style: str = "kwargs") -> None:
        """Refuse a call that the signature does not take; a constructor without one is only asked by calling it.

        Raises:
            InitRefused: arguments are missing, or there are too many.
        """
        signature = signature_of(constructor)
        if signature is None:
            return
        try:
            signature.bind(*self.args, **self.kwargs)
        except TypeError as error:
            taken = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
            names = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            required = [p.name for p in taken if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
            unknown = [name for name in self.kwargs if name not in names]
            free = [name for name in names if name not in self.kwargs]
            near = {name: found[0] for name in unknown if (found := difflib.get_close_matches(name, free, 1))}
            wants_one_object = style == "kwargs" and len(required) == 1 and required[0] not in self.kwargs
            raise InitRefused(
                target,
                str(error),
                [str(p) for p in taken],
                namespace_helps=wants_one_object and not near and bool(self.kwargs),
                near=near,
            ) from error


def signature_of(constructor: Callable[..., Any]) -> inspect.Signature | None:
    """Return what a class or function takes, or None where it cannot be asked."""
    if inspect.isclass(constructor) and constructor.__init__ is nn.Module.__init__:
        return inspect.Signature()  # torch's own says that it takes anything, and then refuses it
    try:
        return inspect.signature(constructor)
    except (ValueError, TypeError):
        return None


def takes_nothing(constructor: Callable[..., Any]) -> bool:
    """Whether there is only one way to call it."""
    signature = signature_of(constructor)
    return signature is not None and not signature.parameters


def by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Return the arguments of a call by name; where some have none, all that stand by position in one list."""
    kinds = {name: bound.signature.parameters[name].kind for name in bound.arguments}
    if {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL} & set(kinds.values()):
        return {POSITIONAL: list(bound.args), **bound.kwargs}
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        named.update(value if kinds[name] is inspect.Parameter.VAR_KEYWORD else {name: value})
    return named


def fresh(value: Any) -> Any:
    """Return a value whose containers are new, and whose other parts (a module, a function) are the given ones.

    What is nested more deeply than can be stored is a given one, too; every object is visited once.
    """
    done: dict[int, Any] = {}

    def renewed(value: Any, levels: int) -> Any:
        if id(value) not in done:
            done[id(value)] = value  # found by what it holds, if it holds itself
            done[id(value)] = _renewed(value, lambda item: renewed(item, levels - 1)) if levels else value
        return done[id(value)]

    return renewed(value, MOST_LEVELS)


def _renewed(value: Any, renewed: Callable[[Any], Any]) -> Any:
    kind = type(value)
    if kind in (dict, OrderedDict, defaultdict):
        made: Any = defaultdict(value.default_factory) if kind is defaultdict else kind()
        for key, item in value.items():
            made[key] = renewed(item)
        if kind is OrderedDict:
            vars(made).update(vars(value))
        return made
    if kind in (list, tuple):
        return kind([renewed(item) for item in value])
    if kind is argparse.Namespace:
        copied = argparse.Namespace()
        vars(copied).update({key: renewed(item) for key, item in vars(value).items()})  # whose keys need not be names
        return copied
    if kind in (set, bytearray):
        return kind(value)
    return value.detach().clone().requires_grad_(value.requires_grad) if kind is torch.Tensor else value


def note(module: nn.Module, init: Arguments | str) -> None:
    """Let a module know its constructor arguments, or why they are not known."""
    module.__dict__[NOTED] = init if isinstance(init, str) else init.raw


def note_if_storable(module: nn.Module, init: Mapping[str, Any], owner: str) -> None:
    """Let a module know its constructor arguments, or that one of them could not be given back as it is."""
    try:
        note(module, Arguments.of(init, owner))
    except UnstorableInit as error:
        note(module, str(error))


def noted(module: nn.Module) -> Arguments | str | None:
    """Return what a module knows of its constructor arguments."""
    found = module.__dict__.get(NOTED)
    init = found[0] if isinstance(found, list) else found
    return Arguments(init) if isinstance(init, dict) else init


def note_tensors(module: nn.Module, found: Layout) -> None:
    """Let a module that knows its constructor arguments know, too, what these made: no values, and only once.

    A class that reads its state dict in its own way would have to be asked for one, so of that nothing is noted.
    """
    init = module.__dict__.get(NOTED)
    if isinstance(init, dict) and not found.custom:
        made = {n: (s.tensor.dtype, s.tensor.shape) for n, s in found.slots.items() if not is_lazy(s.tensor)}
        lazy = [name for name in found.slots if name not in made] if len(made) != len(found.slots) else []
        module.__dict__[NOTED] = [init, {"tensors": made, "lazy": lazy, "ties": list(map(list, found.ties))}]


def noted_tensors(module: nn.Module) -> Constructed | None:
    """Return what a module knows of the tensors that its constructor made."""
    found = module.__dict__.get(NOTED)
    if not isinstance(found, list):
        return None
    tensors = {n: TensorSpec(dtype_name(d), tuple(s)) for n, (d, s) in found[1]["tensors"].items()}
    return Constructed(tensors, frozenset(found[1]["lazy"]), tuple(map(tuple, found[1]["ties"])))


def attributes_read(constructor: Callable[..., Any]) -> list[str]:
    """Return the attributes that a constructor reads of its first argument, by its source; a hint, and no more."""
    function = constructor.__init__ if inspect.isclass(constructor) else constructor
    try:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body[0]
        names = [a.arg for a in (*tree.args.posonlyargs, *tree.args.args)][1 if inspect.isclass(constructor) else 0 :]
    except (OSError, TypeError, SyntaxError, IndexError, AttributeError, ValueError):
        return []
    reads = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and names[:1] == [node.value.id]
    ]
    return list(dict.fromkeys(reads))


def texts_for_numbers(constructor: Callable[..., Any], init: Mapping[str, Any]) -> list[str]:
    """Return the texts among arguments that have no text as their default: ``num_classes='forty'``."""
    signature = signature_of(constructor)
    parameters = signature.parameters if signature is not None else {}
    return [
        f"{name}={value!r:.60}"
        for name, value in init.items()
        if isinstance(value, str)
        and not isinstance(getattr(parameters.get(name), "default", None), str)
        and "str" not in str(getattr(parameters.get(name), "annotation", ""))
    ]
