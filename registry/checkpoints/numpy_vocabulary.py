"""numpy's arrays, scalars and dtypes in pickles, read without numpy."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from registry.canonical.signature import TensorSpec
from registry.canonical.values import Array, Foreign
from registry.checkpoints.plain_vocabulary import raw_bytes
from registry.checkpoints.tensors import swapped
from registry.checkpoints.vocabulary import BadPickle, Buildable, Handler, Machine, Vocabulary

_CODES = {
    "b1": "bool",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
}
_FORMATS = {
    **{"bool": "?", "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H"},
    **{"uint32": "I", "uint64": "Q", "float16": "e", "float32": "f", "float64": "d"},
}

LARGEST_COLUMN_MAJOR = 1 << 20
"""Elements; they are reordered in Python, and no model has such arrays beside its weights."""


class ArrayType(Buildable):
    """Stands for a ``numpy.dtype``; its byte order comes with its state."""

    def __init__(self, code: str) -> None:
        self.code = code.lstrip("<>=|")
        self.big_endian = code.startswith(">")

    def build(self, machine: Machine, state: Any) -> None:
        self.big_endian = isinstance(state, tuple) and len(state) > 1 and state[1] in (">", b">")


class PickledArray(Buildable):
    """Stands for a ``numpy.ndarray`` while the pickle makes it; ``value`` is the array, where it is a plain one."""

    def __init__(self) -> None:
        self.value: Array | Foreign = Foreign("numpy.ndarray")

    def build(self, machine: Machine, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise BadPickle("an array of numpy has an unknown state")
        _, shape, dtype, column_major, data = state
        self.value = _array(machine, data, dtype, shape, bool(column_major))


def _array(machine: Machine, data: Any, dtype: Any, shape: Any, column_major: bool) -> Array | Foreign:
    name = _CODES.get(dtype.code) if isinstance(dtype, ArrayType) else None
    if name is None or isinstance(data, list):
        return Foreign("numpy.ndarray", (shape, getattr(dtype, "code", dtype)))
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 64:
        raise BadPickle("the shape of an array of numpy is none")
    spec = TensorSpec(name, shape)
    content = raw_bytes(data)
    machine.charge(2 * len(content))
    if len(content) != spec.nbytes:
        raise BadPickle("the bytes of an array of numpy do not fit its shape")
    item = 4 if name == "complex64" else spec.nbytes // max(spec.numel, 1)
    if dtype.big_endian and item > 1:
        content = swapped(content, item)
    if column_major and len(shape) > 1:
        if spec.numel > LARGEST_COLUMN_MAJOR:
            return Foreign("numpy.ndarray in column-major order", (shape, name))
        machine.charge(120 * spec.numel)
        content = _row_major(content, shape, spec.nbytes // max(spec.numel, 1))
    return Array(spec, content)


def _row_major(content: bytes, shape: tuple[int, ...], item: int) -> bytes:
    numbers = [content[i : i + item] for i in range(0, len(content), item)]
    strides = [math.prod(shape[:axis]) for axis in range(len(shape))]
    order = [0]
    for size, stride in zip(shape, strides, strict=True):
        order = [start + i * stride for start in order for i in range(size)]
    return b"".join(numbers[i] for i in order)


def _reconstruct(machine: Machine, args: tuple[Any, ...]) -> PickledArray:
    return PickledArray()


def _dtype(machine: Machine, args: tuple[Any, ...]) -> ArrayType:
    code = args[0] if args else None
    if isinstance(code, bytes):
        code = code.decode("ascii")
    if not isinstance(code, str):
        raise BadPickle("a dtype of numpy has no name")
    return ArrayType(code)


def _from_buffer(machine: Machine, args: tuple[Any, ...]) -> Array | Foreign:
    data, dtype, shape, order = args
    return _array(machine, data, dtype, shape, order == "F")


def _scalar(machine: Machine, args: tuple[Any, ...]) -> Any:
    """Return the Python number that a scalar of numpy is."""
    dtype, data = args
    if not isinstance(dtype, ArrayType):
        return Foreign("numpy.scalar", args)
    if dtype.code.startswith(("U", "S")):
        machine.charge(4 * len(raw_bytes(data)))
        return raw_bytes(data).decode("utf-32-le" if dtype.code.startswith("U") else "latin-1").rstrip("\0")
    content = raw_bytes(data)
    order = ">" if dtype.big_endian else "<"
    name = _CODES.get(dtype.code, "")
    if name == "complex64":
        return complex(*struct.unpack(order + "ff", content))
    if name not in _FORMATS:
        return Foreign("numpy.scalar", (dtype.code,))
    return struct.unpack(order + _FORMATS[name], content)[0]


_HANDLERS: Mapping[str, Handler] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy.dtype": _dtype,
}

NUMPY = Vocabulary(_HANDLERS, {})
