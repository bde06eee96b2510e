"""Tensors that several files hold in pieces."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from registry.checkpoints.tensors import FileTensor
from registry.errors.checkpoints import DamagedCheckpoint
from registry.tensors.dtypes import INTEGERS, ITEM_SIZES
from registry.tensors.spec import TensorSpec

MOST_PAIRS = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A rectangular piece of a tensor."""

    offsets: tuple[int, ...]
    shape: tuple[int, ...]
    read: Callable[[], FileTensor]
    """Opens the piece; its checks are made then, so that listing a checkpoint reads only its metadata."""


@dataclass(frozen=True, slots=True, eq=False)
class AssembledTensor:
    """A ``TensorSource`` of pieces that cover it exactly once (see ``faulty``)."""

    source: str
    name: str
    spec: TensorSpec
    chunks: tuple[Chunk, ...]

    @property
    def identity(self) -> Hashable:
        return self

    def buffer(self) -> memoryview:
        """Return the values, without a copy where one piece is all of it.

        Raises:
            DamagedCheckpoint: a piece is not what the metadata says.
        """
        if self.spec.numel == 0:
            return memoryview(b"")
        if len(self.chunks) == 1:
            return self._read(self.chunks[0])
        from registry.tensors import memory

        integer = INTEGERS[ITEM_SIZES[self.spec.dtype]]
        target = memory.tensor_over(TensorSpec(integer, self.spec.shape), bytearray(self.spec.nbytes))
        for chunk in self.chunks:
            if math.prod(chunk.shape):
                piece = memory.tensor_over(TensorSpec(integer, chunk.shape), bytearray(self._read(chunk)))
                region = tuple(slice(o, o + size) for o, size in zip(chunk.offsets, chunk.shape, strict=True))
                target[region] = piece
        return memory.content(target)

    @property
    def is_streamed(self) -> bool:
        return len(self.chunks) == 1

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        """Yield the values; all at once where they are gathered."""
        if len(self.chunks) == 1 and self.spec.numel:
            yield from self._tensor(self.chunks[0]).pieces()
        else:
            yield self.buffer()

    def _read(self, chunk: Chunk) -> memoryview:
        return self._tensor(chunk).buffer()

    def _tensor(self, chunk: Chunk) -> FileTensor:
        tensor = chunk.read()
        if tensor.spec != TensorSpec(self.spec.dtype, chunk.shape):
            raise DamagedCheckpoint(
                self.source,
                f"a piece of '{self.name}' is {tensor.spec} and should be {TensorSpec(self.spec.dtype, chunk.shape)}",
            )
        return tensor


TENSORS = (FileTensor, AssembledTensor)
"""The classes of a ``TensorSource`` that readers of files make."""


def faulty(shape: tuple[int, ...], chunks: tuple[Chunk, ...]) -> str:
    """Return what is wrong with the pieces of a tensor, or an empty text where they cover it exactly once."""
    for chunk in chunks:
        if len(chunk.offsets) != len(shape) or len(chunk.shape) != len(shape):
            return "a piece has another number of dimensions"
        if any(o < 0 or n < 0 or o + n > size for o, n, size in zip(chunk.offsets, chunk.shape, shape, strict=True)):
            return "a piece lies outside of it"
    if sum(math.prod(chunk.shape) for chunk in chunks) != math.prod(shape):
        return "its pieces do not cover it exactly"
    filled = [chunk for chunk in chunks if math.prod(chunk.shape)]
    varying = [axis for axis in range(len(shape)) if len({chunk.offsets[axis] for chunk in filled}) > 1]
    if len(varying) == 1:
        axis = varying[0]
        filled.sort(key=lambda chunk: chunk.offsets[axis])
        pairs = list(itertools.pairwise(filled))
    elif len(filled) * len(filled) > MOST_PAIRS:
        return f"it is in {len(filled)} pieces along several dimensions"
    else:
        pairs = [(one, other) for i, one in enumerate(filled) for other in filled[:i]]
    return "two of its pieces overlap" if any(_overlap(one, other) for one, other in pairs) else ""


def _overlap(one: Chunk, other: Chunk) -> bool:
    return all(
        a < b + n and b < a + m for a, m, b, n in zip(one.offsets, one.shape, other.offsets, other.shape, strict=True)
    )
