"""Dicts that hold tensors under names, wherever they stand in a file's value: what may be meant as the weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from registry.canonical.form import is_extra_state
from registry.checkpoints.inventory import is_tensor, text_of
from registry.checkpoints.pickles.torch_vocabulary import Unstorable
from registry.checkpoints.states import kind_of_state

LIKELIEST = (
    "",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "model/state_dict",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "generator",
)
AVERAGED = re.compile(r"(^|[/_.])(ema|swa|averaged?|shadow|polyak|teacher)([/_.]|$|\d)", re.IGNORECASE)
"""Words for an average in a key or a name."""

KeyPath = tuple[str, ...]
"""The keys that lead from the root to a state dict; numbers in a list."""


@dataclass(frozen=True, eq=False)
class Group:
    """Tensors that stand under names in one dict."""

    place: KeyPath
    value: dict[str, Any]

    @property
    def can_be_weights(self) -> bool:
        """Whether one of its tensors can be a weight."""
        return any(can_be_weight(item) for item in self.value.values() if is_tensor(item))

    @property
    def elements(self) -> int:
        """The number of numbers in its tensors."""
        tensors = (item for item in self.value.values() if is_tensor(item) and not isinstance(item, Unstorable))
        return sum(tensor.spec.numel for tensor in tensors)

    @property
    def is_state_dict(self) -> bool:
        """Whether it has the shape of one: torch's own mark, a name of several components, or nothing but tensors."""
        if isinstance(getattr(self.value, "_metadata", None), dict):
            return True
        tensors = [name for name, item in self.value.items() if is_tensor(item)]
        if any("." in name.strip(".") for name in tensors):
            return True
        return len(tensors) + sum(map(is_extra_state, self.value)) == len(self.value)


def find_sets(root: Any) -> list[Group]:
    """Return what may be meant as the weights of a value.

    State dicts; and what lies loose around one, since nothing says whether it belongs to it. Loose tensors elsewhere,
    as among hyperparameters, are weights only where there is nothing better.
    """
    groups = list(_groups(root, (), set()))
    weights = [group for group in groups if group.can_be_weights]
    sets = [group for group in weights if group.is_state_dict]
    inside = places_above(sets)
    around = [group for group in weights if not group.is_state_dict and group.place in inside]
    return [*sets, *around] or weights or groups


def places_above(groups: Iterable[Group]) -> set[KeyPath]:
    """Return the places inside of which some groups lie."""
    return {group.place[:length] for group in groups for length in range(len(group.place))}


def can_be_weight(tensor: Any) -> bool:
    """Whether a tensor has more than one element, of a dtype that is neither integer nor Boolean."""
    if isinstance(tensor, Unstorable):
        return True
    return tensor.spec.numel > 1 and not tensor.spec.dtype.startswith(("int", "uint", "bool"))


def _groups(value: Any, place: KeyPath, seen: set[int]) -> Iterator[Group]:
    """Yield the groups in a value, each once: dicts that refer to each other thousandfold are searched once."""
    if not isinstance(value, (dict, list, tuple)) or id(value) in seen:
        return
    seen.add(id(value))
    kind = kind_of_state(value)
    if kind is not None and kind != "optimizer":
        return
    if kind == "optimizer" and isinstance(value, dict):  # somebody may have put the weights into its dict
        value = {key: item for key, item in value.items() if key not in ("state", "param_groups")}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value) and any(map(is_tensor, value.values())):
        yield Group(place, value)
    for key, item in parts_of(value):
        if not is_extra_state(text_of(key)):
            yield from _groups(item, (*place, text_of(key)), seen)


def rank(group: Group) -> tuple[bool, int, int]:
    key = "/".join(group.place)
    likeliness = LIKELIEST.index(key) if key in LIKELIEST else len(LIKELIEST)
    return bool(AVERAGED.search(key)), likeliness, -sum(map(is_tensor, group.value.values()))


def is_plain_set(value: Any) -> bool:
    """Whether a value is a dict with tensors of its own and no sets of weights inside."""
    if not isinstance(value, dict) or not any(map(is_tensor, value.values())):
        return False
    inside = (group for group in _groups(value, (), set()) if group.value is not value)
    return not any(group.can_be_weights for group in inside)


def parts_of(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the parts of a dict, list or tuple with their keys; nothing else is searched for weights."""
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else ()


def at(root: Any, place: KeyPath) -> Any:
    """Return the part of a value at a place that was found in it."""
    for step in place:
        root = next(item for key, item in parts_of(root) if text_of(key) == step)
    return root


def values_in(root: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield a value and everything in it, each container once, with the keys that lead there; outer ones first."""
    seen: set[int] = set()

    def found(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        if id(value) not in seen:
            yield place, value
            if isinstance(value, (dict, list, tuple)):
                seen.add(id(value))
            for key, item in parts_of(value):
                yield from found(item, (*place, key))

    yield from found(root, ())
