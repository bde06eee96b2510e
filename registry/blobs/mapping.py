"""Tensors over privately mapped blobs. Nothing here imports torch, so that they are being hashed while that is done."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.blobs.files import StoreFolders, opened
from registry.errors.blobs import DamagedBlob
from registry.tensors.manifest import Manifest, StoredTensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Mapped:
    """A blob in memory: writing there copies the page and reaches no file."""

    mapping: mmap.mmap
    content: memoryview
    status: os.stat_result

    def part(self, stored: StoredTensor) -> memoryview:
        """Return the bytes of one tensor."""
        begin = stored.location.offset
        return self.content[begin : begin + stored.spec.nbytes]


@dataclass(frozen=True)
class OpenedWeights:
    """The tensors of a version, mapped, and perhaps still being checked."""

    tensors: Mapping[str, torch.Tensor]
    """By canonical name; the names of a tie have one tensor."""
    check: Callable[..., None]
    """Wait until every byte is checked; called with a function of (bytes done, bytes in all), or with nothing.

    To be called before anybody writes to the tensors, since what is checked is the memory that they use.

    Raises:
        CorruptTensors: a tensor's bytes are not those that were stored.
    """


def map_blobs(places: StoreFolders, manifest: Manifest) -> dict[str, Mapped]:
    """Map every blob that a manifest needs.

    Raises:
        DamagedBlob: one is missing, no regular file, or shorter than the manifest says.
        StoreUnreadable: the system refuses.
    """
    ends: dict[str, int] = {}
    for tensor in manifest.tensors.values():
        end = tensor.location.offset + tensor.spec.nbytes
        ends[tensor.location.blob] = max(end, ends.get(tensor.location.blob, 0))
    return {blob: _map(places, blob, end) for blob, end in ends.items()}


def tensors_of(manifest: Manifest, place: Callable[[StoredTensor], torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors by name. Names that are no tie share no memory, even where their bytes are stored once.

    Args:
        place: gives what is stored once as a tensor; asked again, one of the same memory.
    """
    tied = {name: group[0] for group in manifest.ties for name in group}
    made: dict[str, torch.Tensor] = {}
    used: set[str] = set()
    tensors: dict[str, torch.Tensor] = {}
    for name, stored in manifest.tensors.items():
        first = tied.get(name, name)
        tensor = made.get(first)
        if tensor is None or manifest.tensors[first].digest != stored.digest:
            tensor = place(stored)
            if stored.digest in used and stored.spec.numel:
                tensor = tensor.clone()
            used.add(stored.digest)
            made.setdefault(first, tensor)
        tensors[name] = tensor
    return tensors


def _map(places: StoreFolders, blob: str, end: int) -> Mapped:
    with opened(places.blob(blob), blob) as (handle, status):
        # Reading a mapping beyond the end of its file kills the process, so the size is checked first; afterwards
        # nothing shortens a blob, which is read-only and only ever replaced by rename.
        if status.st_size < max(end, 1):
            raise DamagedBlob(blob, f"is cut short ({status.st_size} bytes of {end})")
        mapping = mmap.mmap(handle, status.st_size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return Mapped(mapping, memoryview(mapping), status)


def regions(
    manifest: Manifest, content: Callable[[StoredTensor], memoryview], wanted: Collection[str]
) -> Iterator[tuple[StoredTensor, list[str], memoryview]]:
    """Yield each tensor that is stored in one of the blobs that are wanted once, with its names and bytes."""
    inside = {name: stored for name, stored in manifest.tensors.items() if stored.location.blob in wanted}
    names: dict[StoredTensor, list[str]] = {}
    for name, stored in inside.items():
        names.setdefault(stored, []).append(name)
    for stored, its in names.items():
        yield stored, its, content(stored)
