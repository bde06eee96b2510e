"""One tensor somewhere: in a file, in a live module, or in memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from registry.tensors.spec import TensorSpec

PIECE = 1 << 20
"""Bytes that are copied at a time where a tensor's values are copied piece by piece."""


@runtime_checkable
class TensorSource(Protocol):
    """A tensor that can be stored, or compared with a stored one."""

    @property
    def spec(self) -> TensorSpec:
        """Its dtype and shape."""

    @property
    def identity(self) -> Hashable:
        """Equal for two names of one checkpoint that are the same memory seen the same way: tied tensors."""

    @property
    def is_streamed(self) -> bool:
        """Whether its values lie in order where they are, so that they need not be held to be read again."""

    def buffer(self) -> memoryview:
        """Its values: C-contiguous, little-endian, as a flat ``memoryview`` of bytes (format ``B``).

        They are in memory of their own: what is hashed is what is written, whoever writes to the file or to the live
        tensor meanwhile.
        """

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        """Its values in order, each piece in memory of its own; without ``own`` perhaps in that of a live tensor."""


@dataclass(frozen=True, eq=False)
class TensorBytes:
    """A tensor of which the bytes are at hand: in memory that nobody writes to, or mapped from a file."""

    spec: TensorSpec
    content: memoryview
    is_mapped: bool = False
    """Whether they are read only when they are needed, and may change until then."""

    @property
    def identity(self) -> Hashable:
        return self

    @property
    def is_streamed(self) -> bool:
        return self.is_mapped

    def buffer(self) -> memoryview:
        return memoryview(bytes(self.content)) if self.is_mapped else self.content

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        if not self.is_mapped:
            yield self.content
            return
        for begin in range(0, len(self.content), PIECE):
            yield memoryview(bytes(self.content[begin : begin + PIECE]))
