"""What the values of a tensor are like, computed from its bytes by numpy, in bounded memory.

Every dtype that can be stored is read as float64 (complex128 for complex ones), a piece at a time: bfloat16 is the
upper half of a float32, and a float8 has 256 values, which a table lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

PIECE = 8 << 20
"""Bytes of float64 that values are widened to at a time."""

ELEMENTS = PIECE // 8
"""Elements of a piece, of whatever dtype."""

Buffer = memoryview | bytes
Content = Buffer | Iterable[Buffer]
"""A tensor's C-contiguous little-endian bytes, whole or in pieces of ``ELEMENTS`` elements."""
Readable = Buffer | Callable[[], Iterable[Buffer]]
"""The same, to be read more than once."""
Wide = npt.NDArray[np.float64] | npt.NDArray[np.complex128]

_FLOAT8 = {  # exponent bits, mantissa bits, bias, and which codes are no finite numbers
    "float8_e4m3fn": (4, 3, 7, "fn"),
    "float8_e5m2": (5, 2, 15, "ieee"),
    "float8_e4m3fnuz": (4, 3, 8, "fnuz"),
    "float8_e5m2fnuz": (5, 2, 16, "fnuz"),
}


@dataclass(frozen=True)
class Statistics:
    """The values of one tensor; of a complex one, their magnitudes. NaNs count in ``nans`` and nowhere else."""

    count: int
    """Elements."""
    nans: int
    infinities: int
    minimum: float | None
    """Of what is no NaN; None where there is nothing else."""
    maximum: float | None
    mean: float | None
    """Of the finite values."""
    norm: float
    """L2, of the finite values."""
    histogram: tuple[int, ...]
    """Counts of the finite values in equal bins from the smallest to the largest; empty where there are none."""


@dataclass(frozen=True)
class Distance:
    """How far one tensor is from another of the same shape; NaN where a difference is one."""

    norm: float
    """L2 norm of the difference."""
    base: float
    """L2 norm of the first tensor."""
    largest: float
    """Largest absolute difference of one element."""


def statistics(content: Readable, dtype: str, bins: int = 64) -> Statistics:
    """Describe a tensor; its bytes are read twice.

    Args:
        content: its C-contiguous little-endian bytes, or what gives them in pieces whenever it is called.
        dtype: torch's name, ``"bfloat16"``.
        bins: of the histogram.
    """
    count = nans = infinities = finite = 0
    low, high, total, squares = math.inf, -math.inf, 0.0, 0.0
    least, most = math.inf, -math.inf
    for values in _real(content, dtype):
        count += values.size
        known = values[~np.isnan(values)]
        nans += values.size - known.size
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
        plain = known[np.isfinite(known)]
        infinities += known.size - plain.size
        finite += plain.size
        if plain.size:
            least, most = min(least, float(plain.min())), max(most, float(plain.max()))
            with np.errstate(over="ignore"):
                total += float(plain.sum())
                squares += float(np.dot(plain, plain))
    return Statistics(
        count=count,
        nans=nans,
        infinities=infinities,
        minimum=low if count > nans else None,
        maximum=high if count > nans else None,
        mean=total / finite if finite else None,
        norm=math.sqrt(squares),
        histogram=_histogram(content, dtype, least, most, bins) if finite else (),
    )


def distance(before: tuple[Content, str], after: tuple[Content, str]) -> Distance:
    """Compare two tensors of one shape, each given as (bytes, dtype); pieces are read to their ends."""
    squares = base = 0.0
    largest = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for old, new in zip(_wide(*before), _wide(*after), strict=True):
            apart = np.abs(new - old)
            squares += float(np.dot(apart, apart))
            base += float(np.dot(size := np.abs(old), size))
            largest = float(np.maximum(largest, apart.max(initial=0.0)))
    return Distance(math.sqrt(squares), math.sqrt(base), largest)


def _histogram(content: Readable, dtype: str, low: float, high: float, bins: int) -> tuple[int, ...]:
    counts = np.zeros(bins, dtype=np.int64)
    for values in _real(content, dtype):
        plain = values[np.isfinite(values)]
        # numpy refuses a range whose width is not finite, which the halves of it are.
        counts += np.histogram(plain / 2, bins=bins, range=(low / 2, high / 2))[0]
    return tuple(int(number) for number in counts)


def _real(content: Readable, dtype: str) -> Iterator[npt.NDArray[np.float64]]:
    for values in _wide(content() if callable(content) else content, dtype):
        yield np.abs(values) if dtype.startswith("complex") else values.real


def _wide(content: Content, dtype: str) -> Iterator[Wide]:
    """Yield the values, a piece at a time; the pieces of all dtypes have the same number of elements."""
    kind = _raw(dtype)
    for buffer in _cut(content, ELEMENTS * kind.itemsize) if isinstance(content, Buffer) else content:
        piece = np.frombuffer(buffer, dtype=kind)
        with np.errstate(invalid="ignore"):  # signaling NaNs
            if dtype == "bfloat16":
                yield (piece.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
            elif dtype.startswith("float8"):
                yield _float8(dtype)[piece]
            elif dtype.startswith("complex"):
                yield piece.astype(np.complex128)
            else:
                yield piece.astype(np.float64)


def _cut(content: Buffer, step: int) -> Iterator[Buffer]:
    return (content[begin : begin + step] for begin in range(0, len(content), step))


def _raw(dtype: str) -> np.dtype[np.generic]:
    if dtype == "bfloat16":
        return np.dtype("<u2")
    return np.dtype("u1" if dtype.startswith("float8") else dtype).newbyteorder("<")


@cache
def _float8(dtype: str) -> npt.NDArray[np.float64]:
    """Return the 256 values of a float8.

    Source: the OCP 8-bit Floating Point Specification (e4m3fn, e5m2), its Microscaling Formats (e8m0), and
    arXiv:2206.02915 (the ``fnuz`` kinds, whose only NaN is what would be minus zero).
    """
    if dtype == "float8_e8m0fnu":
        return np.array([math.ldexp(1.0, code - 127) for code in range(255)] + [math.nan])
    exponent_bits, mantissa_bits, bias, kind = _FLOAT8[dtype]
    values = np.empty(256)
    for code in range(256):
        exponent = code >> mantissa_bits & (1 << exponent_bits) - 1
        mantissa = code & (1 << mantissa_bits) - 1
        scale = 1 - bias - mantissa_bits if exponent == 0 else exponent - bias - mantissa_bits
        value = math.ldexp(mantissa + (0 if exponent == 0 else 1 << mantissa_bits), scale)
        if kind == "fn" and code & 0x7F == 0x7F:
            value = math.nan
        elif kind == "ieee" and exponent == (1 << exponent_bits) - 1:
            value = math.nan if mantissa else math.inf
        elif kind == "fnuz" and code == 0x80:
            value = math.nan
        values[code] = -value if code & 0x80 else value
    return values
