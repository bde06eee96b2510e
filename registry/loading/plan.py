"""A version as one safetensors file, planned without reading a byte of it: a header, and ranges of the blobs.

The file is a format: its bytes depend on the weights, their names, their ties and ``FORMAT`` alone, so its size and its
header are known before it is written, and a part of it can be served by itself. docs/storage.md describes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.manifest import Location, Manifest, StoredTensor
from registry.tensors.safetensors import TensorExtent, header

FORMAT = 1
"""Version of the file's form; another number may give the same weights other bytes."""


@dataclass(frozen=True)
class Part:
    """Bytes that follow each other: of the header, or of a blob."""

    content: bytes | Location
    length: int


@dataclass(frozen=True)
class ExportPlan:
    """What a file consists of, in order."""

    header: bytes
    """With the eight bytes of its length."""
    tensors: Mapping[str, StoredTensor]
    """By the names in the file, one behind the other."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + sum(tensor.spec.nbytes for tensor in self.tensors.values())

    def parts(self, begin: int = 0, end: int | None = None) -> Iterator[Part]:
        """Yield what the bytes from ``begin`` to before ``end`` consist of; by default all of them."""
        end = self.size if end is None else min(end, self.size)
        place = len(self.header)
        if begin < min(place, end):
            yield Part(self.header[begin:end], min(place, end) - begin)
        for tensor in self.tensors.values():
            first, last = max(begin, place), min(end, place + tensor.spec.nbytes)
            if first < last:
                location = Location(tensor.location.blob, tensor.location.offset + first - place)
                yield Part(location, last - first)
            place += tensor.spec.nbytes


def plan(manifest: Manifest, rename: Callable[[str], str] = lambda name: name) -> ExportPlan:
    """Plan a version's file. Tensors are ordered by item size, the largest first, then by name.

    A name of a tie has its own copy, since many readers want all of them; what was tied stands in ``__metadata__``.

    Args:
        rename: gives each canonical name the one that it has in the file.
    """
    named = sorted(
        ((rename(name), tensor) for name, tensor in manifest.tensors.items()),
        key=lambda item: (-ITEM_SIZES[item[1].spec.dtype], item[0]),
    )
    slots, offset = [], 0
    for name, tensor in named:
        slots.append(TensorExtent(name, tensor.spec, offset))
        offset += tensor.spec.nbytes
    metadata = {"format": "pt"}
    if manifest.ties:
        groups = sorted(sorted(rename(name) for name in group) for group in manifest.ties)
        metadata["ties"] = json.dumps(groups, separators=(",", ":"), ensure_ascii=False)
    return ExportPlan(header(slots, metadata=metadata), dict(named))
