"""The form of a blob: a safetensors file whose name is the digest of its content. Pure.

``[8 bytes: length of the header][header: JSON, padded with spaces][tensors, one behind the other]``. The tensors begin
at a multiple of 64 and are ordered by item size, the largest first, so that each is aligned to its own item size
although the format allows no holes. The blob's name is BLAKE3 over the first two parts and the tensors' digests in
order: what is stored is hashed only once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from blake3 import blake3

from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.safetensors import BadHeader, TensorExtent, header, header_length, read_header
from registry.tensors.spec import TensorSpec


def ordered(specs: Iterable[TensorSpec]) -> list[int]:
    """Return the positions of tensors in the order in which they are stored."""
    numbered = list(enumerate(specs))
    return [position for position, _ in sorted(numbered, key=lambda item: -ITEM_SIZES[item[1].dtype])]


def reserve(keys: Sequence[str], specs: Sequence[TensorSpec]) -> int:
    """Return bytes that the header of any part of these tensors fits in."""
    longest = sum(spec.nbytes for spec in specs)
    return len(header([TensorExtent(key, spec, longest) for key, spec in zip(keys, specs, strict=True)]))


def read_blob_header(content: memoryview) -> tuple[int, list[TensorExtent]]:
    """Return where the data begins, and the tensors.

    Raises:
        ValueError: the bytes are not those of a blob.
    """
    start, slots = read_slots(content)
    if any(start + slot.end > len(content) for slot in slots):
        raise ValueError("is shorter than its header says")
    return start, slots


def read_slots(content: memoryview) -> tuple[int, list[TensorExtent]]:
    """Return the same also of a blob that is cut short behind its header.

    Raises:
        ValueError: the header is not one of a blob.
    """
    try:
        length = header_length(bytes(content[:8]), len(content))
        slots, _ = read_header(bytes(content[8 : 8 + length]))
    except BadHeader as error:
        raise ValueError(f"has a header that cannot be read: {error}") from error
    return 8 + length, slots


def blob_digest(head: bytes, tensors: Iterable[str]) -> str:
    """Return the name of a blob: from its header and the hexadecimal digests of its tensors, in order."""
    digest = blake3(head)
    for tensor in tensors:
        digest.update(bytes.fromhex(tensor))
    return digest.hexdigest()
