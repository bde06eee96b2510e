"""The one table of dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class DType(NamedTuple):
    """A dtype that can be stored."""

    name: str
    """torch's."""
    itemsize: int
    """Bytes an element."""
    token: str
    """What a safetensors file calls it."""


_STORABLE = (
    DType("bool", 1, "BOOL"),
    DType("uint8", 1, "U8"),
    DType("int8", 1, "I8"),
    DType("float8_e4m3fn", 1, "F8_E4M3"),
    DType("float8_e5m2", 1, "F8_E5M2"),
    DType("float8_e8m0fnu", 1, "F8_E8M0"),
    DType("float8_e4m3fnuz", 1, "F8_E4M3FNUZ"),
    DType("float8_e5m2fnuz", 1, "F8_E5M2FNUZ"),
    DType("uint16", 2, "U16"),
    DType("int16", 2, "I16"),
    DType("float16", 2, "F16"),
    DType("bfloat16", 2, "BF16"),
    DType("uint32", 4, "U32"),
    DType("int32", 4, "I32"),
    DType("float32", 4, "F32"),
    DType("uint64", 8, "U64"),
    DType("int64", 8, "I64"),
    DType("float64", 8, "F64"),
    DType("complex64", 8, "C64"),
)

ITEM_SIZES: Mapping[str, int] = {dtype.name: dtype.itemsize for dtype in _STORABLE}
"""Bytes an element, for every dtype that can be stored."""

TOKENS: Mapping[str, str] = {dtype.name: dtype.token for dtype in _STORABLE}
"""What a safetensors file calls each of them."""

BY_TOKEN: Mapping[str, str] = {dtype.token: dtype.name for dtype in _STORABLE}

INTEGERS: Mapping[int, str] = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}
"""By bytes an element: as which dtype values are moved, so that none is touched."""

ALL_ITEM_SIZES: Mapping[str, int] = {
    **ITEM_SIZES,
    "complex32": 4,
    "complex128": 16,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
    "quint4x2": 1,
    "quint2x4": 1,
}
"""Bytes an element, also for the dtypes that are only recognized so that they can be refused by name."""
