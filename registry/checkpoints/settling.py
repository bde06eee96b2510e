"""The value of a pickle, walked once: what is inside, and stand-ins of the reading replaced by values.

What comes out can be walked by anybody: no plain container holds itself, and written out in full, with what is
referred to many times written as often, it is no larger than its file may become.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from registry.checkpoints.assembled import TENSORS
from registry.checkpoints.pickles.numpy_vocabulary import ArrayType, PickledArray
from registry.checkpoints.pickles.torch_vocabulary import StorageType, TypedStorage
from registry.checkpoints.pickles.vocabulary import Global
from registry.errors.checkpoints import OversizedCheckpoint
from registry.tensors.budget import Budget
from registry.tensors.foreign import Array, Foreign
from registry.tensors.source import TensorSource

DEEPEST = 200


@dataclass
class Settled:
    """A value of plain data, tensors and foreign objects, and what was met in it."""

    value: Any = None
    tensors: list[TensorSource] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)


def settle(value: Any, source: str, nbytes: int | None, *, through: bool = False) -> Settled:
    """Replace what only the reading knows (half-built arrays, names, storages), in place where that is possible.

    Every object is visited once, however often it is referred to: pickles of some bytes can describe structures
    that unfold to more than any memory.

    Args:
        nbytes: of the file; None of what is in memory already.
        through: count what is inside of foreign objects, too; by default nobody looks there.

    Raises:
        OversizedCheckpoint: it is nested more deeply than data is, or unfolds out of proportion to the file.
    """
    walk = _Walk(source, through)
    walk.result.value, cost = walk.settled(value, DEEPEST)
    if nbytes is not None and cost > (budget := Budget(nbytes)).limit:
        raise OversizedCheckpoint(source, f"{budget.sentence}, since parts of it are referred to many times")
    return walk.result


def first_foreign(values: Iterable[tuple[str, Any]], source: str) -> tuple[str, Foreign] | None:
    """Return the name of the first value that holds a foreign object, and that object; every object is visited once."""
    walk = _Walk(source, False)
    for name, value in values:
        walk.settled(value, DEEPEST)
        if walk.result.foreign:
            return name, walk.result.foreign[0]
    return None


_EACH = 40
"""Bytes of a value that is written out, beside its text; what the pickle was charged for making one."""


class _Walk:
    def __init__(self, source: str, through: bool) -> None:
        self.source = source
        self.through = through
        self.result = Settled()
        self.done: dict[int, tuple[Any, int]] = {}
        self.kept: list[Any] = []
        """Objects whose addresses are keys of ``done``; a freed one could lend its address to another."""

    def settled(self, value: Any, levels: int) -> tuple[Any, int]:
        """Return what a value becomes, and the bytes of all that it unfolds to."""
        if value is None or isinstance(value, (bool, int, float)):
            return value, _EACH
        if isinstance(value, (str, bytes, bytearray)):
            return value, _EACH + len(value)
        address = id(value)
        if address in self.done:
            return self.done[address]
        if levels < 0:
            raise OversizedCheckpoint(self.source, f"its contents are nested more than {DEEPEST} levels deep")
        self.kept.append(value)
        # Until it is done, a container that holds itself finds this in its place.
        is_plain = isinstance(value, (dict, list, tuple))
        self.done[address] = (Foreign("a container that holds itself") if is_plain else value, _EACH)
        result = self.done[address] = self._visit(value, levels - 1)
        return result

    def _visit(self, value: Any, levels: int) -> tuple[Any, int]:
        cost = 2 * _EACH
        if isinstance(value, TENSORS):
            self.result.tensors.append(value)
        elif isinstance(value, dict):
            for key, item in value.items():
                value[key], part = self.settled(item, levels)
                cost += part + self._key(key)
            if (facts := getattr(value, "_metadata", None)) is not None:
                value._metadata, part = self.settled(facts, levels)  # type: ignore[attr-defined]
                cost += part
        elif isinstance(value, list):
            cost += self._items(value, value, levels)
        elif isinstance(value, tuple):
            parts = list(value)
            cost += self._items(value, parts, levels)
            if type(value) is tuple:
                return tuple(parts), cost
        elif isinstance(value, (set, frozenset)):
            cost += sum(map(self._key, value))
            self.result.foreign += [item for item in value if isinstance(item, Foreign)]
        elif isinstance(value, (PickledArray, ArrayType)):
            return self.settled(value.value, levels)
        elif isinstance(value, Array):
            cost += len(value.data)
        elif isinstance(value, (Global, StorageType, TypedStorage)):
            return self.settled(Foreign(str(value) if isinstance(value, Global) else type(value).__name__), levels)
        elif isinstance(value, Foreign):
            self.result.foreign.append(value)
            value.args, args = self.settled(value.args, levels)
            value.state, state = self.settled(value.state, levels)
            value.items, items = self.settled(value.items, levels)
            cost += args + state + items if self.through else 0
        return value, cost

    def _items(self, value: Any, target: list[Any], levels: int) -> int:
        cost = 0
        for place, item in enumerate(value):
            target[place], part = self.settled(item, levels)
            cost += part
        return cost

    def _key(self, key: Any) -> int:
        if isinstance(key, (str, bytes)):
            return _EACH + len(key)
        return _EACH + (sum(map(self._key, key)) if isinstance(key, (tuple, frozenset)) else 0)
