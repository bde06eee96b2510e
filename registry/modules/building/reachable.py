"""All that a module refers to: through attributes, containers, iterators, closures, its classes and their globals."""

from __future__ import annotations

import functools
import gc
import random
import sys
import types
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import nn

from registry.modules.building.constructor import NOTED
from registry.modules.building.prints import SCALARS, SEQUENCES, fingerprint, is_a_leaf
from registry.modules.layout import Layout

_MOST_OBJECTS = 1_000_000
"""A module that refers to more is looked at as far as that."""

_MAPPINGS = (dict, types.MappingProxyType)
_CLOSED = (types.ModuleType, types.FrameType, types.CodeType, types.TracebackType, torch.Generator, random.Random)
"""Not looked into: the world at large, and generators, which are no values but make some later."""
_REGISTRIES = ("_modules", "_parameters", "_buffers")


class Found(NamedTuple):
    """A value that a module refers to. One that refers to others is followed by these."""

    path: str
    value: Any
    is_leaf: bool
    """Whether it is a tensor, an array, a number, a text, or a list of such: what may have been drawn."""
    is_shared: bool
    """Whether it belongs to a class or to a Python module rather than to the one model."""


def reachable(module: nn.Module, found: Layout, *, shared: bool = False) -> Iterator[Found]:
    """Yield what a module refers to beside the tensors of its state dict; what stands there twice, once.

    Args:
        found: its layout.
        shared: whether to look into its classes, too, and the globals that their functions name.
    """
    packages = _packages(found) if shared else frozenset()
    seen: dict[int, Any] = {}
    """By id, and held: the id of an object that was made for this look alone would pass on to another."""
    queue: deque[tuple[str, Any, bool]] = deque([("", module, False)])
    for name, slot in found.slots.items():
        if id(slot.tensor) not in seen:
            seen[id(slot.tensor)] = slot.tensor
            queue.extend((f"{name}.{key}", member, False) for key, member in _attributes(slot.tensor))
    while queue and len(seen) < _MOST_OBJECTS:
        path, value, is_shared = queue.popleft()
        if isinstance(value, SCALARS):
            yield Found(path, value, True, is_shared)
            continue
        if id(value) in seen or isinstance(value, _CLOSED) or type(value).__module__.startswith("numpy.random"):
            continue
        seen[id(value)] = value
        yield Found(path, value, is_leaf := is_a_leaf(value), is_shared)
        within = f"{path}." if path else ""
        members = _attributes(value) if is_leaf else _members(value, packages)
        queue.extend((within + name, member, is_shared) for name, member in members)
        if packages:
            queue.extend((path, member, True) for path, member in _surroundings(value, packages))


def _members(value: Any, packages: frozenset[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, nn.Module):
        recomputed = _recomputed(value) | {NOTED}
        for registry in _REGISTRIES:
            yield from vars(value)[registry].items()
        yield from (pair for pair in vars(value).items() if pair[0] not in _REGISTRIES and pair[0] not in recomputed)
    elif isinstance(value, type):
        if _package(value) in packages:
            yield from vars(value).items()
    elif isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        yield from _numbered([*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells])
        yield from vars(value).items()
    elif isinstance(value, types.GeneratorType):
        yield from value.gi_frame.f_locals.items() if value.gi_frame is not None else ()
    elif isinstance(value, weakref.ReferenceType):
        yield "()", value()
    elif isinstance(value, ContextVar):
        yield "get()", value.get(None)
    else:
        yield from _contents(value)
        yield from _attributes(value)


def _contents(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a container holds, and any other object beside its attributes, as the garbage collector sees it."""
    if isinstance(value, _MAPPINGS):
        # What a dict holds, and not what a class of its own makes of it: that may import a library for each key.
        held = dict.items(value) if isinstance(value, dict) else value.items()
        for index, (key, member) in enumerate(held):
            # Not by other keys, such as those of hooks, which are numbered through the process.
            yield key if isinstance(key, str) else str(index), member
        yield "keys()", list(dict.keys(value) if isinstance(value, dict) else value)
    elif isinstance(value, SEQUENCES):
        yield from _numbered(sorted(value, key=_alike) if isinstance(value, (set, frozenset)) else value)
    elif type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        yield from _numbered(value.reshape(-1).tolist())
    else:
        known = {id(member) for _, member in _attributes(value)} | {
            id(getattr(value, "__dict__", None)),
            id(type(value)),
        }
        reduced = [] if hasattr(value, "__dict__") else _reduced(value)
        yield from _numbered([*reduced, *(held for held in gc.get_referents(value) if id(held) not in known)])


def _alike(value: Any) -> str:
    """Return a text by which the members of a set come in the same order at every construction."""
    if is_a_leaf(value):
        return fingerprint(value, is_leaf=True)
    plain = sorted((k, v) for k, v in getattr(value, "__dict__", {}).items() if isinstance(v, (bool, int, float, str)))
    return f"{fingerprint(value, is_leaf=False)} {plain!r}"


def _reduced(value: Any) -> list[Any]:
    """Return what an object would be pickled as, which for an iterator is what it still gives."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of iterators, this goes in Python 3.14
            reduced = value.__reduce_ex__(2)
    except Exception:
        return []
    return [part for part in reduced[1:] if part is not None] if isinstance(reduced, tuple) else [reduced]


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    flattened = value.__tensor_flatten__()[0] if hasattr(value, "__tensor_flatten__") else ()
    yield from (pair for pair in getattr(value, "__dict__", {}).items() if pair[0] not in flattened)
    if isinstance(value, torch.Tensor):
        if value._backward_hooks:
            yield "hooks", list(value._backward_hooks.values())
        if value.is_leaf and value.grad is not None:
            yield "grad", value.grad
        return
    kind: Any = type(value)  # mypy takes it for unhashable
    yield from ((name, getattr(value, name)) for name in _slots(kind) if hasattr(value, name))


def _surroundings(value: Any, packages: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Yield the class of an object and the globals that a function names, where they are of the model's packages."""
    if not isinstance(value, type) and _package(type(value)) in packages:
        yield from ((kind.__name__, kind) for kind in type(value).__mro__ if _package(kind) in packages)
    if isinstance(value, types.FunctionType) and _package(value) in packages:
        names = set(_names(value.__code__))
        yield from _named(value.__globals__, names, packages)


def _named(globals_: dict[str, Any], names: set[str], packages: frozenset[str]) -> Iterator[tuple[str, Any]]:
    for name in sorted(names & globals_.keys()):
        if isinstance(globals_[name], types.ModuleType):
            module = globals_[name]
            if str(module.__name__).partition(".")[0] in packages:
                yield from ((f"{name}.{n}", vars(module)[n]) for n in sorted(names & vars(module).keys()))
        else:
            yield name, globals_[name]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _packages(found: Layout) -> frozenset[str]:
    """Return the top-level packages of a module's classes, without those that are torch's or Python's."""
    kinds = {kind for _, part in found.parts for kind in type(part).__mro__}
    return frozenset(map(_package, kinds)) - {"torch", "registry", *sys.stdlib_module_names}


def _package(value: Any) -> str:
    return str(value.__module__).partition(".")[0]


def _recomputed(module: nn.Module) -> set[str]:
    """Return the attributes that weight normalization, spectral normalization or pruning compute at every call."""
    hooks = [h for h in vars(module)["_forward_pre_hooks"].values() if type(h).__module__.startswith("torch.nn.utils.")]
    return {str(getattr(hook, name)) for hook in hooks for name in ("name", "_tensor_name") if hasattr(hook, name)}


def _numbered(values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((str(index), value) for index, value in enumerate(values))


@functools.cache
def _slots(kind: type) -> tuple[str, ...]:
    return tuple(slot for parent in kind.__mro__ for slot in _listed(parent.__dict__.get("__slots__")))


def _listed(slots: Any) -> list[str]:
    names = [slots] if isinstance(slots, str) else list(slots or ())
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not NotImplemented
    except ValueError:
        return False
