"""numpy's arrays, scalars and dtypes in pickles, read without numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from registry.checkpoints.pickles.plain_vocabulary import raw_bytes
from registry.checkpoints.pickles.vocabulary import BadPickle, Buildable, Global, Handler, Machine, Vocabulary, label
from registry.checkpoints.tensors import swapped
from registry.tensors import numpy_values
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.foreign import ARRAY, Array, Foreign, TorchConstant
from registry.tensors.numpy_values import NAMES
from registry.tensors.spec import TensorSpec

LONGEST_CODE = 100
"""Characters of a dtype's code, of which each array has a copy."""


class ArrayType(Buildable):
    """Stands for a ``numpy.dtype``; its byte order comes with its state."""

    def __init__(self, code: str) -> None:
        self.code = code.lstrip("<>=|")
        self.big_endian = code.startswith(">")

    @property
    def value(self) -> TorchConstant | Foreign:
        """The dtype as a value of its own; one that has more to it than its code, such as a record's, is not read."""
        kept = numpy_values.SPELLING.fullmatch(f"<{self.code}") and self.code[0] not in "mM"
        return TorchConstant("numpy.dtype", f"{'<>'[self.big_endian]}{self.code}") if kept else Foreign("numpy.dtype")

    def build(self, machine: Machine, state: Any) -> None:
        self.big_endian = isinstance(state, tuple) and len(state) > 1 and state[1] in (">", b">")


class PickledArray(Buildable):
    """Stands for a ``numpy.ndarray`` while the pickle makes it; ``value`` is the array, where it is a plain one."""

    def __init__(self, kind: str = ARRAY) -> None:
        self.kind = kind
        self.value: Array | Foreign = Foreign(kind)

    def build(self, machine: Machine, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise BadPickle("an array of numpy has an unknown state")
        _, shape, dtype, column_major, data = state
        self.value = _array(machine, data, dtype, shape, bool(column_major))
        if isinstance(self.value, Array):
            self.value = replace(self.value, kind=self.kind)


def _array(machine: Machine, data: Any, dtype: Any, shape: Any, column_major: bool) -> Array | Foreign:
    name = NAMES.get(dtype.code) if isinstance(dtype, ArrayType) else None
    if name is None or isinstance(data, list):
        return Foreign("numpy.ndarray", (shape, getattr(dtype, "code", dtype)))
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 64:
        raise BadPickle("the shape of an array of numpy is none")
    spec = TensorSpec(name, shape)
    content = raw_bytes(data)
    machine.charge(2 * len(content))
    if len(content) != spec.nbytes:
        raise BadPickle("the bytes of an array of numpy do not fit its shape")
    item = 4 if name == "complex64" else ITEM_SIZES[name]
    is_swapped = dtype.big_endian and item > 1
    if is_swapped:
        content = swapped(content, item)
    if column_major and len(shape) > 1:
        machine.charge(2 * len(content))
        content = row_major(content, shape, ITEM_SIZES[name])
    return Array(spec, content, is_swapped)


_CODES: Mapping[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Integers of so many bytes, as memory is moved in."""


def row_major(content: bytes, shape: tuple[int, ...], item: int) -> bytes:
    """Return the elements of an array in row-major order that lie in column-major order; ``item`` is bytes of one.

    Axis by axis, the first one is brought to the front of those behind it, in runs of elements that lie evenly apart:
    as few as the array can be moved in, so that the work is not one step an element.
    """
    shape = tuple(size for size in shape if size != 1)
    outer = 1
    for axis, rows in enumerate(shape[:-1]):
        columns = math.prod(shape[axis + 1 :])
        content = _transposed(content, outer, rows, columns, _CODES[item])
        outer *= rows
    return content


def _transposed(content: bytes, count: int, rows: int, columns: int, code: Literal["B", "H", "I", "Q"]) -> bytes:
    """Return ``count`` matrices of elements that lie column by column, row by row."""
    source, made = memoryview(content).cast(code), bytearray(len(content))
    target, size = memoryview(made).cast(code), rows * columns
    if size <= count * min(rows, columns):
        for row in range(rows):
            for column in range(columns):
                target[row * columns + column :: size] = source[column * rows + row :: size]
    else:
        for begin in range(0, count * size, size):
            end = begin + size
            if rows <= columns:
                for row in range(rows):
                    target[begin + row * columns : begin + (row + 1) * columns] = source[begin + row : end : rows]
            else:
                for column in range(columns):
                    column_begin = begin + column * rows
                    target[begin + column : end : columns] = source[column_begin : column_begin + rows]
    return bytes(made)


def _reconstruct(machine: Machine, args: tuple[Any, ...]) -> PickledArray:
    return PickledArray(label(args[0])[:200] if args and isinstance(args[0], Global) else ARRAY)


def _dtype(machine: Machine, args: tuple[Any, ...]) -> ArrayType:
    code = args[0] if args else None
    if isinstance(code, bytes):
        code = code[: LONGEST_CODE + 1].decode("ascii")
    if not isinstance(code, str) or len(code) > LONGEST_CODE:
        raise BadPickle("a dtype of numpy has no name")
    return ArrayType(code)


def _from_buffer(machine: Machine, args: tuple[Any, ...]) -> Array | Foreign:
    data, dtype, shape, order = args
    return _array(machine, data, dtype, shape, order == "F")


def _scalar(machine: Machine, args: tuple[Any, ...]) -> Any:
    """Return what stands for a scalar of numpy: the plain value that it is, which knows its dtype."""
    dtype, data = args
    if not isinstance(dtype, ArrayType):
        return Foreign("numpy.scalar", args)
    content = raw_bytes(data)
    machine.charge(200 + 4 * len(content))
    found = numpy_values.scalar(dtype.code, content, dtype.big_endian)
    return Foreign("numpy.scalar", (dtype.code,)) if found is None else found


_HANDLERS: Mapping[str, Handler] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy.dtype": _dtype,
}

NUMPY = Vocabulary(_HANDLERS, {})
