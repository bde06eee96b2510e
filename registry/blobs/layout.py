"""The form of a blob: a safetensors file whose name is the digest of its content. Pure.

``[8 bytes: length of the header][header: JSON, padded with spaces][tensors, one behind the other]``. The tensors begin
at a multiple of 64 and are ordered by item size, the largest first, so that each is aligned to its own item size
although the format allows no holes. The blob's name is BLAKE3 over the first two parts and the tensors' digests in
order: what is stored is hashed only once.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from blake3 import blake3

from registry.canonical import header as canonical_header
from registry.canonical.header import LARGEST_HEADER
from registry.canonical.signature import ITEM_SIZES, TensorSpec

ALIGNMENT = 64
_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "uint16": "U16",
    "int16": "I16",
    "float16": "F16",
    "bfloat16": "BF16",
    "uint32": "U32",
    "int32": "I32",
    "float32": "F32",
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
}
_NAMES = {token: name for name, token in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of a blob."""

    key: str
    spec: TensorSpec
    offset: int
    """Bytes from the beginning of the data."""


def ordered(specs: Iterable[TensorSpec]) -> list[int]:
    """Return the positions of tensors in the order in which they are stored."""
    numbered = list(enumerate(specs))
    return [position for position, _ in sorted(numbered, key=lambda item: -ITEM_SIZES[item[1].dtype])]


def header(slots: Sequence[Slot], nbytes: int | None = None, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the length and the header of a file, padded to ``nbytes``, or to where data may begin."""
    body: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    body |= {
        slot.key: {
            "dtype": _TYPES[slot.spec.dtype],
            "shape": list(slot.spec.shape),
            "data_offsets": [slot.offset, slot.offset + slot.spec.nbytes],
        }
        for slot in slots
    }
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    whole = nbytes if nbytes is not None else data_start(len(text))
    return struct.pack("<Q", whole - 8) + text.ljust(whole - 8)


def data_start(text: int) -> int:
    """Return where the data begins behind a header text of so many bytes."""
    return -(-(8 + text) // ALIGNMENT) * ALIGNMENT


def reserve(keys: Sequence[str], specs: Sequence[TensorSpec]) -> int:
    """Return bytes that the header of any part of these tensors fits in."""
    longest = sum(spec.nbytes for spec in specs)
    return len(header([Slot(key, spec, longest) for key, spec in zip(keys, specs, strict=True)]))


def read_header(content: memoryview) -> tuple[int, list[Slot]]:
    """Return where the data begins, and the tensors.

    Raises:
        ValueError: the bytes are not those of a blob.
    """
    start, slots = read_slots(content)
    if any(start + slot.offset + slot.spec.nbytes > len(content) for slot in slots):
        raise ValueError("is shorter than its header says")
    return start, slots


def read_slots(content: memoryview) -> tuple[int, list[Slot]]:
    """Return the same also of a blob that is cut short behind its header.

    Raises:
        ValueError: the header is not one of a blob.
    """
    if len(content) < 8:
        raise ValueError("is shorter than a header")
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(LARGEST_HEADER, len(content) - 8):
        raise ValueError("has a header that is longer than the file")
    try:
        declared, _ = canonical_header.read_header(bytes(content[8 : 8 + length]))
        slots = [Slot(key, TensorSpec(_NAMES[told.dtype], told.shape), told.begin) for key, told in declared.items()]
    except (canonical_header.BadHeader, KeyError) as error:
        raise ValueError("has a header that cannot be read") from error
    if any(slot.spec.nbytes != told.end - told.begin for slot, told in zip(slots, declared.values(), strict=True)):
        raise ValueError("has a header that cannot be read")
    return 8 + length, slots


def blob_digest(head: bytes, tensors: Iterable[str]) -> str:
    """Return the name of a blob: from its header and the hexadecimal digests of its tensors, in order."""
    digest = blake3(head)
    for tensor in tensors:
        digest.update(bytes.fromhex(tensor))
    return digest.hexdigest()
