"""Numpy's values by the spelling of their dtype and their bytes: scalars, arrays and dtypes, one way for all kinds."""

from __future__ import annotations

import re
import struct
import sys
from typing import Any

SPELLING = re.compile(r"[<>|](b1|[iu][1248]|f[248]|c8|c16|[US]\d{1,9}|[mM]8(\[\d{0,9}[a-zA-Z]{1,7}\])?)")
"""The dtypes that mean the same on every machine and hold no objects: ``"<f4"``, ``">i8"``, ``"<M8[ns]"``."""

TEXT, BYTES = "<U", "|S"
"""Spellings of one text or bytes: at any length, and with the zeros at their end, which an array would cut off."""

NAMES = {
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
"""What torch calls them, by numpy's code, which is a spelling without its byte order."""

SPELLINGS = {name: f"<{code}" for code, name in NAMES.items()}
"""How their dtypes are spelled, by what torch calls them."""

_COMPLEX = {"c8": "ff", "c16": "dd"}


class Scalar:
    """Stands for a scalar of numpy that was read as the plain value nearest to it."""

    spelling: str
    """Of its dtype; little-endian."""
    data: bytes
    """UTF-8, where it is a text."""
    plain: Any
    """The value itself, as Python has it."""


class IntegerScalar(Scalar, int):
    """Stands for a whole number, or a truth value."""


class FloatScalar(Scalar, float):
    """Stands for a real number."""


class ComplexScalar(Scalar, complex):
    """Stands for a complex number."""


class TextScalar(Scalar, str):
    """Stands for a ``numpy.str_``."""


class BytesScalar(Scalar, bytes):
    """Stands for a ``numpy.bytes_``."""


_STAND_INS: dict[type, Any] = {
    bool: IntegerScalar,
    int: IntegerScalar,
    float: FloatScalar,
    complex: ComplexScalar,
    str: TextScalar,
    bytes: BytesScalar,
}


def scalar(code: str, content: bytes, big_endian: bool) -> Any:
    """Return the stand-in for a scalar, without numpy; None for one that has no plain value, such as a moment.

    Args:
        code: of its dtype, without its byte order: ``"f4"``.

    Raises:
        ValueError, struct.error: the bytes do not fit it.
    """
    order = ">" if big_endian else "<"
    spelling, data = f"<{code}", content
    value: Any
    if not SPELLING.fullmatch(spelling) or code[0] in "mM":
        return None
    if code[0] == "U":
        value = content.decode("utf-32-be" if big_endian else "utf-32-le").rstrip("\0")
        spelling, data = TEXT, value.encode()
    elif code[0] == "S":
        value = data = content.rstrip(b"\0")
        spelling = BYTES
    elif code in _COMPLEX:
        value, half = complex(*struct.unpack(order + _COMPLEX[code], content)), len(content) // 2
        data = content[half - 1 :: -1] + content[: half - 1 : -1] if big_endian else content
    else:
        [value] = struct.unpack(order + _format(code), content)
        data = content[::-1] if big_endian else content
    stand_in = _STAND_INS[type(value)](value)
    stand_in.spelling, stand_in.data, stand_in.plain = spelling, data, value
    return stand_in


def _format(code: str) -> str:
    kind, size = code[0], int(code[1:])
    if kind == "b":
        return "?"
    if kind == "f":
        return {2: "e", 4: "f", 8: "d"}[size]
    letter = {1: "b", 2: "h", 4: "i", 8: "q"}[size]
    return letter if kind == "i" else letter.upper()


def library() -> Any:
    """Return numpy where this process has imported it; without it, no value is one of numpy's."""
    return sys.modules.get("numpy")


def spelling_of(dtype: Any) -> str | None:
    """Return how a live dtype is spelled, or None if its spelling would not lead back to it."""
    spelled: str = dtype.str
    if not SPELLING.fullmatch(spelled) or dtype.metadata:
        return None
    back = library().dtype(spelled)
    return spelled if back == dtype and back.char == dtype.char and back.type is dtype.type else None


def spelled(value: Any) -> tuple[str, bytes] | None:
    """Return the spelling and the little-endian bytes of a live scalar, or its own spelling's bytes of an array.

    None of one that these would not lead back to: a long double, a record, a value of a derived class.
    """
    numpy = library()
    if type(value) is numpy.str_:
        return TEXT, value.encode()
    if type(value) is numpy.bytes_:
        return BYTES, bytes(value)
    spelling = spelling_of(value.dtype)
    if spelling is None or type(value) not in (numpy.ndarray, value.dtype.type):
        return None
    if isinstance(value, numpy.generic):
        little = value.dtype.newbyteorder("<")
        return little.str, value.astype(little).tobytes()
    return spelling, value.tobytes()


def dtype(spelling: str) -> Any:
    """Return the dtype of a spelling.

    Raises:
        ValueError: it is none that is kept.
    """
    import numpy

    if not isinstance(spelling, str) or not SPELLING.fullmatch(spelling):
        raise ValueError(f"unknown dtype {spelling!r}")
    try:
        return numpy.dtype(spelling)
    except TypeError as error:  # a unit of time that numpy lacks
        raise ValueError(f"unknown dtype {spelling!r}") from error


def array(spelling: str, shape: list[int], data: bytes) -> Any:
    """Return a live array, in memory of its own.

    Raises:
        ValueError: the bytes do not fit it.
    """
    import numpy

    kind = dtype(spelling)
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("the shape of an array is none")
    try:
        found = numpy.empty(shape, kind) if 0 in shape else numpy.ndarray(shape, kind, bytearray(data))
    except TypeError as error:
        raise ValueError("the bytes of an array do not fit its shape") from error
    if found.nbytes != len(data):
        raise ValueError("the bytes of an array do not fit its shape")
    return found


def live_scalar(spelling: str, data: bytes) -> Any:
    """Return a live scalar.

    Raises:
        ValueError: the bytes do not fit it.
    """
    import numpy

    if spelling == TEXT:
        return numpy.str_(data.decode())
    if spelling == BYTES:
        return numpy.bytes_(data)
    return array(spelling, [], data)[()]
