"""Getting damaged blobs back: copies of their tensors, and the very same file made again from them."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.blobs.files import StoreFolders, blob_files, opened
from registry.blobs.layout import blob_digest, ordered, read_blob_header, read_slots
from registry.blobs.new_blob import make_blob_folder
from registry.blobs.verification import is_intact
from registry.disk.folders import sync_folder
from registry.disk.writing import Outflow
from registry.errors.blobs import DamagedBlob
from registry.errors.root import RegistryError
from registry.tensors.manifest import Location, Manifest, StoredTensor
from registry.tensors.safetensors import TensorExtent, header
from registry.tensors.source import TensorBytes, TensorSource
from registry.tensors.spec import TensorSpec, tensor_digest


@dataclass(frozen=True)
class BlobLayout:
    """How a blob is laid out: what its name is computed from, but for the bytes."""

    start: int
    slots: tuple[TensorExtent, ...]
    digests: tuple[str, ...]

    def tensors(self, blob: str) -> Iterator[StoredTensor]:
        """Yield what the blob holds."""
        for slot, digest in zip(self.slots, self.digests, strict=True):
            yield StoredTensor(slot.spec, digest, Location(blob, self.start + slot.offset))

    def is_of(self, blob: str) -> bool:
        return blob_digest(header(self.slots, self.start), self.digests) == blob


def copies_in_place(
    path_of: Callable[[str], Path], tensors: Iterable[StoredTensor]
) -> Iterator[tuple[str, TensorBytes]]:
    """Yield what is intact of tensors in damaged blobs, by digest; a header is not needed to find it."""
    files: dict[str, memoryview] = {}
    for stored in tensors:
        blob, begin = stored.location.blob, stored.location.offset
        if blob not in files:
            files[blob] = _mapped(path_of(blob))
        part = files[blob][begin : begin + stored.spec.nbytes]
        if len(part) == stored.spec.nbytes and is_intact(stored, part):
            yield stored.digest, TensorBytes(stored.spec, part, is_mapped=True)


def copies_anywhere(places: StoreFolders, wanted: Mapping[str, TensorSpec]) -> Iterator[tuple[str, TensorBytes]]:
    """Yield copies of tensors, by digest, from every file of the store, the quarantine included."""
    for path in [*blob_files(places), *sorted(places.quarantine.glob("*"))]:
        yield from copies_in(path, wanted)


def copies_in(path: Path, wanted: Mapping[str, TensorSpec]) -> Iterator[tuple[str, TensorBytes]]:
    """Yield copies of tensors, by digest, from a file whose header can be read."""
    specs, content = set(wanted.values()), _mapped(path)
    with contextlib.suppress(ValueError):
        start, slots = read_blob_header(content)
        for slot in slots:
            part = content[start + slot.offset : start + slot.offset + slot.spec.nbytes]
            if slot.spec in specs and (digest := tensor_digest(slot.spec, part)) in wanted:
                yield digest, TensorBytes(slot.spec, part, is_mapped=True)


def _mapped(path: Path) -> memoryview:
    """Map a file for as long as somebody holds a part of it; nothing, if there is none or it cannot be read."""
    try:
        with opened(path, path.stem) as (handle, status):
            return memoryview(mmap.mmap(handle, status.st_size, access=mmap.ACCESS_READ))
    except (RegistryError, ValueError):
        return memoryview(b"")


def layout_of(path: Path, blob: str, manifests: Sequence[Manifest]) -> BlobLayout | None:
    """Return how a blob was laid out, as far as its header or the versions that use it tell; None where none does.

    The push that wrote it named each tensor in it by a name that the tensor had, and its version, or one that shares
    all of the file, still has these names. Whether a reading is right, the blob's own name proves.
    """
    for layout in (*_by_header(path, blob, manifests), *_by_names(blob, manifests)):
        with contextlib.suppress(ValueError, OverflowError):
            if layout.is_of(blob):
                return layout
    return None


def _by_header(path: Path, blob: str, manifests: Sequence[Manifest]) -> Iterator[BlobLayout]:
    """Read what is left of the file; digests are those of the versions, or, of a tensor that none has, of its bytes."""
    content = _mapped(path)
    with contextlib.suppress(ValueError):
        start, slots = read_slots(content)
        known = {
            (stored.location.offset, stored.spec): stored.digest
            for manifest in manifests
            for stored in manifest.tensors.values()
            if stored.location.blob == blob
        }
        digests = []
        for slot in slots:
            begin = start + slot.offset
            digest = known.get((begin, slot.spec))
            digests.append(digest or tensor_digest(slot.spec, content[begin : begin + slot.spec.nbytes]))
        yield BlobLayout(start, tuple(slots), tuple(digests))


def _by_names(blob: str, manifests: Sequence[Manifest]) -> Iterator[BlobLayout]:
    for manifest in manifests:
        inside = [(name, stored) for name, stored in manifest.tensors.items() if stored.location.blob == blob]
        # Which of several names of one content it was depends on the program that wrote it.
        first = {stored: name for name, stored in reversed(inside)}
        last = {stored: name for name, stored in inside}
        names = [name for name, stored in inside if first[stored] == name]
        order = [names[position] for position in ordered([manifest.tensors[name].spec for name in names])]
        place = {manifest.tensors[name]: position for position, name in enumerate(order)}
        # A tensor without elements begins where the one behind it does.
        laid = sorted(place, key=lambda stored: (stored.location.offset, stored.spec.nbytes > 0, place[stored]))
        if laid:
            start = laid[0].location.offset
            for chosen in (first, last):
                slots = [TensorExtent(chosen[stored], stored.spec, stored.location.offset - start) for stored in laid]
                yield BlobLayout(start, tuple(slots), tuple(stored.digest for stored in laid))


def rebuild(
    places: StoreFolders,
    temporary: Path,
    blob: str,
    layout: BlobLayout,
    sources: Sequence[TensorSource],
    announce: Callable[[str], None],
) -> None:
    """Write a blob again from its tensors, in place of whatever bears its name.

    Raises:
        OSError, RegistryError: nothing has that name that had not before.
    """
    path = places.blob(blob)
    announce(blob)
    make_blob_folder(places, blob)
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            out = Outflow(handle)
            out.write(memoryview(header(layout.slots, layout.start)))
            for source, digest in zip(sources, layout.digests, strict=True):
                content = source.buffer()
                if tensor_digest(source.spec, content) != digest:
                    raise DamagedBlob(blob, "cannot be made again: what it is made from changes meanwhile")
                out.write(content)
            os.fchmod(handle, 0o444)
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.rename(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
