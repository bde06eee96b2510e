"""Sets of numpy arrays in a file's value: weights where there are no tensors, and else what may have been meant.

Pure. A set is a dict, list or tuple of nothing but arrays and plain facts, at any depth. It counts where it bears more
than the weights that would be taken for the model; arrays that lie loose count only where those lie loose, too. An
array that is stored as a weight is a tensor of the same dtype, shape and numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from registry.canonical.form import is_extra_state
from registry.checkpoints.groups import Group, KeyPath, can_be_weight, find_sets, parts_of
from registry.checkpoints.inventory import identity_of, is_tensor, text_of
from registry.checkpoints.states import kind_of_state
from registry.tensors.foreign import Array, Foreign
from registry.tensors.spec import TensorSpec


@dataclass(frozen=True)
class ArraySet:
    """Arrays that stand together."""

    place: KeyPath
    arrays: int
    elements: int


@dataclass(frozen=True, slots=True, eq=False)
class ArrayTensor:
    """A ``TensorSource`` whose values are those of an array, which are in memory already."""

    array: Array

    @property
    def spec(self) -> TensorSpec:
        return self.array.spec

    @property
    def identity(self) -> Hashable:
        return identity_of(self.array)

    @property
    def is_streamed(self) -> bool:
        return True

    def buffer(self) -> memoryview:
        return memoryview(self.array.data)

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        yield self.buffer()


def as_tensors(value: Any) -> Any:
    """Return a value with a tensor in the place of each array in its dicts, lists and tuples; it itself stays as it is.

    The value is one that was settled: nothing in it holds itself.
    """
    made: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        if isinstance(value, Array):
            return ArrayTensor(value)
        if not isinstance(value, (dict, list, tuple)):
            return value
        if id(value) not in made:
            parts = [(key, copied(item)) for key, item in parts_of(value)]
            made[id(value)] = dict(parts) if isinstance(value, dict) else [item for _, item in parts]
        return made[id(value)]

    return copied(value)


def array_sets(root: Any, least: int, *, loose: bool) -> list[ArraySet]:
    """Return the sets of arrays in a value that have more than ``least`` elements.

    Args:
        loose: count arrays that stand beside other things, too, by the dict or list that they stand in.
    """
    memo: dict[int, tuple[bool, int, int]] = {}
    found = list(_found(root, (), memo, set(), loose))
    return [group for group in found if group.elements > least]


def _found(value: Any, place: KeyPath, memo: dict[int, Any], seen: set[int], loose: bool) -> Iterator[ArraySet]:
    """Yield the outermost sets, each object once."""
    if not isinstance(value, (dict, list, tuple)) or id(value) in seen or kind_of_state(value):
        return
    seen.add(id(value))
    is_pure, arrays, elements = _measured(value, memo)
    if is_pure and arrays:
        yield ArraySet(place, arrays, elements)
        return
    parts = list(parts_of(value))
    if loose:
        own = [item for _, item in parts if is_weight(item)]
        if own:
            yield ArraySet(place, len(own), sum(item.spec.numel for item in own))
    for key, item in parts:
        if is_extra_state(text_of(key)):
            continue  # what a module keeps there is its own
        yield from _found(item, (*place, text_of(key)), memo, seen, loose)


def _measured(value: Any, memo: dict[int, Any]) -> tuple[bool, int, int]:
    """Return whether a value is arrays and plain facts alone, how many arrays that could be weights, and elements."""
    if isinstance(value, Array):
        return True, int(is_weight(value)), value.spec.numel if is_weight(value) else 0
    if not isinstance(value, (dict, list, tuple)):
        return not (is_tensor(value) or isinstance(value, Foreign)), 0, 0
    if id(value) not in memo:
        inside = [_measured(item, memo) for _, item in parts_of(value)]
        is_pure = all(pure for pure, _, _ in inside) and not kind_of_state(value)
        memo[id(value)] = (is_pure, sum(n for _, n, _ in inside), sum(n for _, _, n in inside))
    measured: tuple[bool, int, int] = memo[id(value)]
    return measured


def sets_of_arrays(root: Any) -> list[Group]:
    """Return what is meant as the weights of a value without tensors: sets of arrays with a matrix of fractions.

    What a training notes of itself are rows of numbers.
    """
    return [group for group in find_sets(as_tensors(root)) if any(map(_is_matrix, group.value.values()))]


def _is_matrix(value: Any) -> bool:
    return isinstance(value, ArrayTensor) and can_be_weight(value) and len(value.spec.shape) > 1


def is_weight(value: Any) -> bool:
    """Whether a value is an array that can be a weight: of several numbers with fractions."""
    return isinstance(value, Array) and can_be_weight(value)
