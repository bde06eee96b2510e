"""The weights of whole pickled modules, read without running anything: what ``torch.save(model)`` wrote of each object.

A ``torch.nn.Module`` is pickled as its attributes: parameters, persistent buffers and modules by name, from which its
``state_dict()`` is made. The types of the objects are known, too, so that wrappers are told from honest names. What the
class itself adds to its state dict, or renames, only its code knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from registry.canonical.owned import Met
from registry.canonical.wrappers import HIDDEN, WRAPPERS, Wrapper
from registry.checkpoints.groups import values_in
from registry.checkpoints.inventory import is_tensor, text_of
from registry.checkpoints.sets import weight_set
from registry.checkpoints.weights import WeightSet
from registry.errors.checkpoints import PickledModule
from registry.tensors.foreign import Foreign

MOST_MODULES = 200_000
MOST_CHARACTERS = 1 << 26
"""Modules of one model, and characters of its names; a pickle may refer to one object many times over."""

_ROWS = {kind: row for row in WRAPPERS for kind in row.types}


class _Unreadable(Exception):
    """Something stands among the parts of a module that only its code can read."""


def module_sets(root: Any, source: str, at: tuple[str, ...] = ()) -> tuple[WeightSet, ...]:
    """Return the weights of the pickled modules in a value, which are taken only where they are asked for by name.

    Args:
        at: the keys that lead to the value.

    There are none of one in which something is not what torch itself writes there.
    """
    found = []
    for place, item in values_in(root):
        if is_module(item):
            try:
                found.append((place, item, _read(item)))
            except _Unreadable:
                continue
    found = [(place, item, parts) for place, item, parts in found if parts.tensors]
    sets = [weight_set((*at, *map(text_of, place)), parts.tensors, source) for place, _, parts in found]
    if not sets:
        return ()
    place, first, _ = found[0]
    refusal = PickledModule(source, first.name, place, {weights.key or ".": weights.count for weights in sets})
    return tuple(
        replace(weights, wrappers=tuple(parts.wrappers), note=_note(item), unasked=refusal)
        for weights, (_, item, parts) in zip(sets, found, strict=True)
    )


def is_module(value: Any) -> bool:
    """Return whether a foreign object has the state of a ``torch.nn.Module``."""
    return isinstance(value, Foreign) and isinstance(value.state, dict) and "_parameters" in value.state


def _note(module: Foreign) -> str:
    while (row := _ROWS.get(module.name)) is not None and is_module(
        inner := module.state["_modules"].get(row.component)
    ):
        module = inner
    return (
        f"read from a whole pickled module ({module.name}) without running its code: its parameters and buffers as "
        "they are registered; what the class adds to its state dict or renames there is not known"
    )


@dataclass
class _Parts:
    """What a module's state dict consists of."""

    tensors: dict[str, Any] = field(default_factory=dict)
    wrappers: list[Met] = field(default_factory=list)
    modules: int = 0
    characters: int = 0


def _read(module: Foreign) -> _Parts:
    """Return the names of a module's state dict with their tensors.

    Raises:
        _Unreadable: a part of it is no module, no tensor, or itself.
    """
    parts = _Parts()

    def visit(module: Foreign, path: str, at: str, above: tuple[int, ...]) -> None:
        registered = dict(_registered(module))
        parts.modules += 1
        parts.characters += sum(len(at) + len(key) for key in ("", *registered))
        if id(module) in above or parts.modules > MOST_MODULES or parts.characters > MOST_CHARACTERS:
            raise _Unreadable
        inside = (*above, id(module))
        children = {key: part for key, part in _named(module, "_modules").items() if part is not None}
        row = _ROWS.get(module.name)
        wrapped = children.pop(row.component, None) if row is not None else None
        before, met = len(parts.tensors), len(parts.wrappers)
        parts.tensors.update({at + key: item for key, item in registered.items()})
        for key, part in children.items():
            visit(_checked(part), f"{path}{key}.", f"{at}{key}.", inside)
        if row is not None and wrapped is not None:
            own = [name.removeprefix(at) for name in list(parts.tensors)[before:]]
            parts.wrappers[met:] = [_met(row, path, at, own)]
            visit(_checked(wrapped), path, at if row.component in HIDDEN else f"{at}{row.component}.", inside)

    visit(module, "", "", ())
    return parts


def _checked(part: Any) -> Foreign:
    if not is_module(part):
        raise _Unreadable
    found: Foreign = part
    return found


def _met(row: Wrapper, path: str, at: str, own: Collection[str]) -> Met:
    inserted = "" if row.component in HIDDEN else at + row.component
    return Met(path.removesuffix("."), row.name, inserted, {at + name: name for name in own})


def _registered(module: Foreign) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of a module, then its persistent buffers."""
    passing = module.state.get("_non_persistent_buffers_set", ())
    if not isinstance(passing, (set, frozenset, tuple, list)):
        raise _Unreadable
    for kind in ("_parameters", "_buffers"):
        for key, item in _named(module, kind).items():
            if item is None or (kind == "_buffers" and key in passing):
                continue
            if not is_tensor(item):
                raise _Unreadable
            yield key, item


def _named(module: Foreign, kind: str) -> Mapping[str, Any]:
    named = module.state.get(kind, {})
    if not isinstance(named, dict) or not all(isinstance(key, str) for key in named):
        raise _Unreadable
    return named
