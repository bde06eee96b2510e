"""safetensors files, with the whole header checked before a tensor is touched.

An int64 length, a JSON header of that length, then the tensors' bytes without overlap, gap or remainder.
Source: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from registry.checkpoints.tensors import ALL_ITEM_SIZES, FileTensor, Storage, whole
from registry.checkpoints.weights import WeightSet
from registry.errors.checkpoints import DamagedCheckpoint, UnstorableTensor

LARGEST_HEADER = 100_000_000

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
}


class _Faulty(Exception):
    """What is wrong with the header."""


def begins_safetensors(content: memoryview) -> bool:
    """Return whether the first bytes are a plausible length and the beginning of a JSON object."""
    return len(content) >= 9 and content[8] == ord("{") and int.from_bytes(content[:8], "little") <= LARGEST_HEADER


def read_safetensors(content: memoryview, source: str) -> tuple[WeightSet, Mapping[str, str]]:
    """Return the tensors of a file, under the names in it, and its ``__metadata__``.

    Names that ``safetensors.torch.save_model`` dropped because they were tied are the set's aliases.

    Raises:
        DamagedCheckpoint: the header is not exactly what the format allows.
        UnstorableTensor: a dtype has less than a byte an element.
    """
    try:
        header, body = _header(content)
        metadata = _metadata(header.pop("__metadata__", {}))
        tensors = _tensors(header, body, source)
    except _Faulty as fault:
        raise DamagedCheckpoint(source, str(fault)) from None
    aliases = {old: kept for old, kept in metadata.items() if old not in tensors and kept in tensors}
    return WeightSet("", tensors, aliases=aliases), metadata


def _header(content: memoryview) -> tuple[dict[str, Any], memoryview]:
    length = int.from_bytes(content[:8], "little")
    if length > min(LARGEST_HEADER, len(content) - 8):
        raise _Faulty(f"its header claims {length} bytes")
    try:
        header = json.loads(bytes(content[8 : 8 + length]).decode(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise _Faulty(f"its header is no JSON ({str(error)[:60]})") from None
    if not isinstance(header, dict):
        raise _Faulty("its header is no JSON object")
    return header, content[8 + length :]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Faulty("a name stands twice in its header")
    return found


def _metadata(raw: Any) -> dict[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
        raise _Faulty("its metadata is no table of texts")
    return raw


def _tensors(header: dict[str, Any], body: memoryview, source: str) -> dict[str, FileTensor]:
    tensors: dict[str, FileTensor] = {}
    places: list[tuple[int, int]] = []
    for name, raw in header.items():
        if not isinstance(raw, dict) or set(raw) != {"dtype", "shape", "data_offsets"}:
            raise _Faulty(f"the entry of '{name[:60]}' is not one of a tensor")
        shape, offsets = raw["shape"], raw["data_offsets"]
        if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
            raise _Faulty(f"the shape or place of '{name[:60]}' is none")
        if raw["dtype"] in ("F4", "F6_E2M3", "F6_E3M2"):
            raise UnstorableTensor(source, name, f"of dtype {raw['dtype']}", "save it unpacked to float8 or larger")
        dtype = _DTYPES.get(raw["dtype"]) if isinstance(raw["dtype"], str) else None
        if dtype is None:
            raise _Faulty(f"'{name[:60]}' has the unknown dtype {str(raw['dtype'])[:20]!r}")
        begin, end = offsets
        if begin > end or end - begin != math.prod(shape) * ALL_ITEM_SIZES[dtype]:
            raise _Faulty(f"the size of '{name[:60]}' does not fit its shape")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise _Faulty("a name is not valid Unicode") from None
        places.append((begin, end))
        tensors[name] = whole(Storage(source, name, end - begin, body[begin:end]), dtype, tuple(shape))
    expected = 0
    for begin, end in sorted(places):
        if begin != expected:
            raise _Faulty("its tensors overlap or leave a gap")
        expected = end
    if expected != len(body):
        raise _Faulty(f"it should have {expected} bytes of tensors and has {len(body)}")
    return tensors


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 64 and all(type(n) is int and 0 <= n < 1 << 62 for n in value)
