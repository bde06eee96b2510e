"""The value of a pickle, walked once: what is inside, and stand-ins of the reading replaced by values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from registry.canonical.values import Foreign
from registry.checkpoints.assembled import TENSORS
from registry.checkpoints.numpy_vocabulary import ArrayType, PickledArray
from registry.checkpoints.torch_vocabulary import StorageType, TypedStorage
from registry.checkpoints.vocabulary import Global
from registry.checkpoints.weights import TensorSource
from registry.errors.checkpoints import OversizedCheckpoint

DEEPEST = 200


@dataclass
class Settled:
    """A value of plain data, tensors and foreign objects, and what was met in it."""

    value: Any = None
    tensors: list[TensorSource] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)


def settle(value: Any, source: str) -> Settled:
    """Replace what only the reading knows (half-built arrays, names, storages), in place where that is possible.

    Every object is visited once, however often it is referred to: pickles of some bytes can describe structures
    that unfold to more than any memory.

    Raises:
        OversizedCheckpoint: it is nested more deeply than data is.
    """
    walk = _Walk(source)
    walk.result.value = walk.settled(value, DEEPEST)
    return walk.result


def first_foreign(values: Iterable[tuple[str, Any]], source: str) -> tuple[str, Foreign] | None:
    """Return the name of the first value that holds a foreign object, and that object; every object is visited once."""
    walk = _Walk(source)
    for name, value in values:
        walk.settled(value, DEEPEST)
        if walk.result.foreign:
            return name, walk.result.foreign[0]
    return None


class _Walk:
    def __init__(self, source: str) -> None:
        self.source = source
        self.result = Settled()
        self.done: dict[int, Any] = {}
        self.kept: list[Any] = []
        """Objects whose addresses are keys of ``done``; a freed one could lend its address to another."""

    def settled(self, value: Any, levels: int) -> Any:
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        address = id(value)
        if address in self.done:
            return self.done[address]
        if levels < 0:
            raise OversizedCheckpoint(self.source, f"its contents are nested more than {DEEPEST} levels deep")
        self.kept.append(value)
        self.done[address] = value
        result = self._visit(value, levels - 1)
        self.done[address] = result
        return result

    def _visit(self, value: Any, levels: int) -> Any:
        if isinstance(value, TENSORS):
            self.result.tensors.append(value)
        elif isinstance(value, dict):
            for key, item in value.items():
                value[key] = self.settled(item, levels)
        elif isinstance(value, list):
            value[:] = [self.settled(item, levels) for item in value]
        elif isinstance(value, tuple) and type(value) is tuple:
            return tuple(self.settled(item, levels) for item in value)
        elif isinstance(value, PickledArray):
            return self.settled(value.value, levels)
        elif isinstance(value, (Global, ArrayType, StorageType, TypedStorage)):
            return self.settled(Foreign(str(value) if isinstance(value, Global) else type(value).__name__), levels)
        elif isinstance(value, Foreign):
            self.result.foreign.append(value)
            value.args = self.settled(value.args, levels)
            value.state = self.settled(value.state, levels)
            value.items = self.settled(value.items, levels)
        return value
