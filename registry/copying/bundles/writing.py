"""Writing a bundle: all of it is laid out before a byte is written, and it has its name when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from registry.blobs.writer import Progress
from registry.catalog import transit
from registry.copying.bundles.archive import BLOCK, END, INDEX, Member, blob_name, layout, version_name
from registry.copying.bundles.layout import Packing, PlannedBlob
from registry.copying.shelf import Listed, Shelf
from registry.disk.folders import sync_folder
from registry.disk.writing import Outflow
from registry.loading.export import check_export, new_file

FORMAT = 1
"""Of the bundle; another number has another specification."""


@dataclass(frozen=True)
class _Source:
    """Where a file's tensors are now."""

    shelf: Shelf
    listed: Listed


@dataclass(frozen=True)
class Plan:
    """A bundle before it is written."""

    index: bytes
    versions: Sequence[bytes]
    blobs: Sequence[tuple[_Source, PlannedBlob]]

    @property
    def members(self) -> list[Member]:
        return layout(
            members_of(
                [len(body) for body in self.versions], [(b.digest, b.size) for _, b in self.blobs], len(self.index)
            )
        )

    @property
    def nbytes(self) -> int:
        """Of the tensors."""
        return sum(blob.size for _, blob in self.blobs)


def members_of(versions: Sequence[int], blobs: Sequence[tuple[str, int]], index: int) -> list[tuple[str, int]]:
    """Return the names and sizes of a bundle's members, in their order."""
    return [
        (INDEX, index),
        *((version_name(number), size) for number, size in enumerate(versions, 1)),
        *((blob_name(digest), size) for digest, size in blobs),
    ]


def plan(sources: Sequence[tuple[Shelf, Listed]]) -> Plan:
    """Lay out a bundle of some versions, without reading a tensor.

    Raises:
        RegistryError: one is not as it was stored.
    """
    packing = Packing()
    versions: list[bytes] = []
    blobs: list[tuple[_Source, PlannedBlob]] = []
    for shelf, listed in sources:
        parcel = shelf.parcel(listed)
        blobs += [(_Source(shelf, listed), blob) for blob in packing.pack(parcel)]
        versions.append(transit.write(parcel, packing.places))
    index = {
        "format": "checkpoint-registry bundle",
        "version": FORMAT,
        "versions": [
            {"ref": listed.ref, "size": len(body), "blake3": blake3(body).hexdigest()}
            for (_, listed), body in zip(sources, versions, strict=True)
        ],
        "blobs": [{"digest": blob.digest, "size": blob.size} for _, blob in blobs],
    }
    return Plan(transit.dump(index), versions, blobs)


def write(planned: Plan, path: Path, progress: Progress) -> None:
    """Write a bundle, whole or not at all; every tensor is verified on its way.

    Raises:
        CannotExport: something is there already, or it cannot be written.
        RegistryError: a tensor is not what was stored.
    """
    check_export(path)
    with new_file(path) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CLOEXEC)
        try:
            done, out = 0, Outflow(handle)
            for member, pieces in zip(planned.members, _bodies(planned), strict=True):
                out.write(memoryview(member.head))
                for piece, nbytes in pieces:
                    out.write(piece)
                    done += nbytes
                    progress(done, planned.nbytes)
                out.write(memoryview(bytes(-member.size % BLOCK)))
            out.write(memoryview(END))
        finally:
            os.close(handle)
    sync_folder(path.parent)


def _bodies(planned: Plan) -> Iterator[Iterator[tuple[memoryview, int]]]:
    """Yield the pieces of each member, with how far they bring the progress."""
    for body in (planned.index, *planned.versions):
        yield iter([(memoryview(body), 0)])
    for source, blob in planned.blobs:
        yield _blob(source, blob)


def _blob(source: _Source, blob: PlannedBlob) -> Iterator[tuple[memoryview, int]]:
    yield memoryview(blob.head), len(blob.head)
    for name, stored in blob.tensors.items():
        for piece in source.shelf.tensor(source.listed, name, stored).pieces():
            yield piece, len(piece)
