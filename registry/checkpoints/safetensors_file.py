"""safetensors files, with the whole header checked before a tensor is touched.

An int64 length, a JSON header of that length, then the tensors' bytes without overlap, gap or remainder.
Source: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from registry.canonical.header import LARGEST_HEADER, BadHeader, Declared, read_header
from registry.checkpoints.mapping import Span
from registry.checkpoints.tensors import ALL_ITEM_SIZES, FileTensor, Storage, whole
from registry.checkpoints.weights import WeightSet
from registry.errors.checkpoints import DamagedCheckpoint, UnstorableTensor

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


def begins_safetensors(head: bytes) -> bool:
    """Return whether the first bytes are a plausible length and the beginning of a JSON object."""
    return len(head) >= 9 and head[8] == ord("{") and int.from_bytes(head[:8], "little") <= LARGEST_HEADER


def read_safetensors(content: Span, source: str) -> tuple[WeightSet, Mapping[str, str]]:
    """Return the tensors of a file, under the names in it, and its ``__metadata__``.

    Names that ``safetensors.torch.save_model`` dropped because they were tied are the set's aliases.

    Raises:
        DamagedCheckpoint: the header is not exactly what the format allows.
        UnstorableTensor: a dtype has less than a byte an element.
    """
    length = int.from_bytes(content.read(0, 8), "little")
    if length > min(LARGEST_HEADER, len(content) - 8):
        raise DamagedCheckpoint(source, f"its header claims {length} bytes")
    try:
        declared, metadata = read_header(content.read(8, 8 + length))
        tensors = _tensors(declared, content.part(8 + length, len(content)), source)
    except BadHeader as fault:
        raise DamagedCheckpoint(source, f"its header: {fault}") from None
    aliases = {old: kept for old, kept in metadata.items() if old not in tensors and kept in tensors}
    return WeightSet("", tensors, aliases=aliases), metadata


def _tensors(declared: Mapping[str, Declared], body: Span, source: str) -> dict[str, FileTensor]:
    tensors: dict[str, FileTensor] = {}
    for name, told in declared.items():
        if told.dtype in ("F4", "F6_E2M3", "F6_E3M2"):
            raise UnstorableTensor(source, name, f"of dtype {told.dtype}", "save it unpacked to float8 or larger")
        dtype = _DTYPES.get(told.dtype)
        if dtype is None:
            raise BadHeader(f"'{name[:60]}' has the unknown dtype {told.dtype[:20]!r}")
        if told.end - told.begin != math.prod(told.shape) * ALL_ITEM_SIZES[dtype]:
            raise BadHeader(f"the size of '{name[:60]}' does not fit its shape")
        storage = Storage(source, name, told.end - told.begin, body.part(told.begin, told.end))
        tensors[name] = whole(storage, dtype, told.shape)
    expected = 0
    for begin, end in sorted((told.begin, told.end) for told in declared.values()):
        if begin != expected:
            raise BadHeader("its tensors overlap or leave a gap")
        expected = end
    if expected != len(body):
        raise BadHeader(f"it should have {expected} bytes of tensors and has {len(body)}")
    return tensors
