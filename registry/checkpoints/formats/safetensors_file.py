"""safetensors files, with the whole header checked before a tensor is touched.

An int64 length, a JSON header of that length, then the tensors' bytes without overlap, gap or remainder.
Source: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.checkpoints.mapping import Span
from registry.checkpoints.tensors import FileTensor, Storage, whole
from registry.checkpoints.weights import WeightSet
from registry.errors.checkpoints import DamagedCheckpoint, UnstorableTensor
from registry.tensors.safetensors import (
    LARGEST_HEADER,
    BadHeader,
    PackedDtype,
    TensorExtent,
    header_length,
    read_header,
)


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
    try:
        length = header_length(content.read(0, 8), len(content))
        slots, metadata = read_header(content.read(8, 8 + length))
        tensors = _tensors(slots, content.part(8 + length, len(content)), source)
    except PackedDtype as packed:
        remedy = "save it unpacked to float8 or larger"
        raise UnstorableTensor(source, packed.name, f"of dtype {packed.token}", remedy) from None
    except BadHeader as fault:
        raise DamagedCheckpoint(source, f"its header: {fault}") from None
    aliases = {old: kept for old, kept in metadata.items() if old not in tensors and kept in tensors}
    return WeightSet("", tensors, aliases=aliases), metadata


def _tensors(slots: Sequence[TensorExtent], body: Span, source: str) -> dict[str, FileTensor]:
    expected = 0
    for begin, end in sorted((slot.offset, slot.end) for slot in slots):
        if begin != expected:
            raise BadHeader("its tensors overlap or leave a gap")
        expected = end
    if expected != len(body):
        raise BadHeader(f"it should have {expected} bytes of tensors and has {len(body)}")
    tensors = {}
    for slot in slots:
        storage = Storage(source, slot.key, slot.spec.nbytes, body.part(slot.offset, slot.end))
        tensors[slot.key] = whole(storage, slot.spec.dtype, slot.spec.shape)
    return tensors
