"""Tensors inside of files: where their bytes are, and the bytes themselves."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from isal import isal_zlib

from registry.checkpoints.mapping import Span
from registry.errors.checkpoints import DamagedCheckpoint
from registry.tensors.dtypes import ALL_ITEM_SIZES, INTEGERS
from registry.tensors.foreign import TENSOR
from registry.tensors.spec import TensorSpec

SWAPPED_ITEM_SIZES = {"complex32": 2, "complex64": 4, "complex128": 8}
"""Bytes of one number, where an element consists of two."""


@dataclass(eq=False, slots=True)
class Storage:
    """A run of bytes that tensors look into; two tensors share memory where they have one storage."""

    source: str
    """The file, as it is named to the user."""
    key: str
    nbytes: int
    content: Span | None = None
    """Its bytes; None until they are located (the legacy format puts them last)."""
    crc: int | None = None
    """CRC-32 that the file has for them, until it was checked."""
    big_endian: bool = False

    def read(self, begin: int, end: int) -> bytes:
        """Return a part of the bytes, after checking all of them once.

        Raises:
            DamagedCheckpoint: they were never located, or their CRC is another one.
            ChangedCheckpoint: the file was cut short meanwhile.
        """
        content = self._located()
        is_whole = begin == 0 and end == self.nbytes
        if self.crc is not None and not is_whole:
            self._check(content.crc32())
        part = content.read(begin, end)
        if self.crc is not None:
            self._check(isal_zlib.crc32(part))
        return part

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield a part of the bytes; that they fit the CRC is known when the last one was yielded.

        Raises:
            DamagedCheckpoint, ChangedCheckpoint: as ``read`` does.
        """
        content = self._located()
        if self.crc is not None and (begin != 0 or end != self.nbytes):
            self._check(content.crc32())
        crc = 0
        for piece in content.part(begin, end).pieces():
            crc = isal_zlib.crc32(piece, crc) if self.crc is not None else 0
            yield piece
        if self.crc is not None:
            self._check(crc)

    def _located(self) -> Span:
        if self.content is None:
            raise DamagedCheckpoint(self.source, f"the bytes of storage '{self.key}' are missing")
        return self.content

    def _check(self, crc: int) -> None:
        if self.crc is not None and crc != self.crc:
            raise DamagedCheckpoint(self.source, f"the checksum of storage '{self.key}' does not fit its bytes")
        self.crc = None


@dataclass(frozen=True)
class FileTensor:
    """A ``TensorSource`` whose values lie in a file; bounds were checked when it was made."""

    storage: Storage
    dtype: str
    start: int
    """Bytes from the beginning of the storage to the first element."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """In elements."""
    conjugated: bool = field(default=False)
    negated: bool = field(default=False)
    requires_grad: bool = field(default=False, compare=False)
    kind: str = field(default=TENSOR, compare=False)
    """Its class, where it is one of its own: ``"torch.nn.parameter.Parameter"``."""

    @cached_property
    def spec(self) -> TensorSpec:
        return TensorSpec(self.dtype, self.shape)

    @cached_property
    def identity(self) -> Hashable:
        # The stride of a dimension of size 1 says nothing, and differs between views of the same elements.
        stride = tuple(step if size > 1 else 0 for size, step in zip(self.shape, self.stride, strict=True))
        return (self.storage, self.start, self.shape, stride, self.dtype, self.conjugated, self.negated)

    @cached_property
    def end(self) -> int:
        """Bytes from the beginning of the storage to behind the last element."""
        return self.start + reach(self.shape, self.stride) * ALL_ITEM_SIZES[self.dtype]

    @property
    def is_contiguous(self) -> bool:
        return is_contiguous(self.shape, self.stride)

    def buffer(self) -> memoryview:
        """Return the values, in memory of their own.

        Raises:
            DamagedCheckpoint: the storage's CRC does not fit.
            ChangedCheckpoint: the file was cut short meanwhile.
        """
        if 0 in self.shape:
            return memoryview(b"")
        content = memoryview(self.storage.read(self.start, self.end))
        if not self.is_contiguous:
            content = _gathered(content, self.shape, self.stride, ALL_ITEM_SIZES[self.dtype])
        if self.storage.big_endian:
            content = memoryview(swapped(content, SWAPPED_ITEM_SIZES.get(self.dtype, ALL_ITEM_SIZES[self.dtype])))
        if self.conjugated or self.negated:
            content = _resolved(content, self.dtype, self.conjugated, self.negated)
        return content

    @property
    def is_streamed(self) -> bool:
        return self.is_contiguous and not (self.storage.big_endian or self.conjugated or self.negated)

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        """Yield the values in pieces where they lie as they should, and else all at once.

        Raises:
            DamagedCheckpoint, ChangedCheckpoint: as ``buffer`` does.
        """
        if 0 in self.shape or not self.is_streamed:
            yield self.buffer()
        else:
            for piece in self.storage.pieces(self.start, self.end):
                yield memoryview(piece)


def reach(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Return how many elements lie between the first and the last one, both counted."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))


def is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Return whether the elements follow each other in row-major order."""
    if 0 in shape:
        return True
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size > 1 and step != expected:
            return False
        expected *= size
    return True


def contiguous_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of a row-major tensor."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def whole(storage: Storage, dtype: str, shape: tuple[int, ...]) -> FileTensor:
    """Return the tensor that fills a storage, in row-major order."""
    return FileTensor(storage, dtype, 0, shape, contiguous_stride(shape))


def _gathered(content: memoryview, shape: tuple[int, ...], stride: tuple[int, ...], item: int) -> memoryview:
    """Return the elements of a strided view in row-major order.

    They are moved as integers of their size, so that no value is touched, and first copied to aligned memory:
    tensors in files begin at any address, and torch's vectorised loops crash on some.
    """
    from registry.tensors import memory

    aligned = memory.tensor_over(TensorSpec(INTEGERS[item], (len(content) // item,)), bytearray(content))
    return memory.content(aligned.as_strided(shape, stride))


def swapped(content: bytes | memoryview, item: int) -> bytes:
    """Return the numbers of a big-endian file in little-endian order; ``item`` is the bytes of one."""
    source, out = bytes(content), bytearray(len(content))
    for i in range(item):
        out[i::item] = source[item - 1 - i :: item]
    return bytes(out)


def _resolved(content: memoryview, dtype: str, conjugated: bool, negated: bool) -> memoryview:
    """Return the values that a lazily conjugated or negated tensor stands for."""
    from registry.tensors import memory

    values = memory.tensor_over(TensorSpec(dtype, (len(content) // ALL_ITEM_SIZES[dtype],)), bytearray(content))
    values = values.conj() if conjugated else values
    return memory.content(values.neg() if negated else values)
