"""Which names of a state dict are wrapper values, and which wrapper they belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.canonical.unwrap import Cut, Unwrapping
from registry.tensors.wrapper_value import Owner, WrapperValue


@dataclass(frozen=True, slots=True)
class Met:
    """A wrapper that stands in a live model, known by its type."""

    path: str
    """Canonical path of what it wraps."""
    wrapper: str
    inserted: str = ""
    """Path in the names up to and with its component; empty where it leaves none, as ``fully_shard`` does."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Its own entries: the name in the state dict to the name below the wrapper."""


def owners_met(wrappers: Sequence[Met]) -> dict[str, Owner]:
    """Return the owner of each name in a live state dict that belongs to a wrapper; wrappers are outermost first."""
    levels = levels_of((met.path, met.wrapper) for met in wrappers)
    return {
        name: Owner(met.path, met.wrapper, level, below)
        for met, level in zip(wrappers, levels, strict=True)
        for name, below in met.own.items()
    }


def unwrapping_of(wrappers: Sequence[Met]) -> Unwrapping:
    """Return how the names of a live state dict become canonical."""
    cuts = [Cut(met.inserted, met.wrapper, "live", 0) for met in wrappers if met.inserted]
    return Unwrapping(tuple(cuts), set_aside=tuple(owners_met(wrappers)))


def owners_beside(cuts: Sequence[Cut], names: Iterable[str]) -> dict[str, Owner]:
    """Return the owner of each name in a file that stands beside a component that a wrapper inserted."""
    bare = Unwrapping(tuple(cuts)).bare
    wrappers = [(bare(".".join(cut.components[:-1])), cut.wrapper) for cut in cuts]
    parents = {
        cut.components[:-1]: (path, wrapper, level)
        for cut, (path, wrapper), level in zip(cuts, wrappers, levels_of(wrappers), strict=True)
    }
    through = {cut.components for cut in cuts}
    owners = {}
    for name in names:
        *parent, last = name.split(".")
        if tuple(parent) in parents and (*parent, last) not in through:
            owners[name] = Owner(*parents[tuple(parent)], last)
    return owners


def stored_values(unwrapping: Unwrapping, wrappers: Iterable[WrapperValue]) -> dict[Owner, Any]:
    """Return the encoded values of a version's wrappers, also where an older one has them by the names of its file."""
    return {
        **{owner: unwrapping.own[name] for name, owner in owners_beside(unwrapping.cuts, unwrapping.own).items()},
        **{value.owner: value.value for value in wrappers},
    }


def levels_of(wrappers: Iterable[tuple[str, str]]) -> list[int]:
    """Return, for each wrapper as (path, name), how many of its name stand around it at that path."""
    met: Counter[tuple[str, str]] = Counter()
    levels = []
    for wrapper in wrappers:
        levels.append(met[wrapper])
        met[wrapper] += 1
    return levels
