"""Getting damaged blobs back: copies of their tensors, and the very same file made again from them."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.blobs.files import Places, blob_files, opened, sync_folder, viewed
from registry.blobs.layout import Slot, blob_digest, header, read_header
from registry.blobs.manifest import Manifest, StoredTensor
from registry.blobs.verification import is_intact
from registry.blobs.writer import Source, make_blob_folder, write_pieces
from registry.canonical.signature import TensorSpec, tensor_hasher
from registry.errors.root import RegistryError


@dataclass(frozen=True)
class StoredCopy:
    """A tensor found in a file of the store, as a source to store it again; mapped only when it is read."""

    path: Path
    offset: int
    spec: TensorSpec

    @property
    def identity(self) -> Hashable:
        return self.path, self.offset

    def buffer(self) -> memoryview:
        with opened(self.path, self.path.stem) as (handle, status):
            if not self.spec.nbytes:
                return memoryview(b"")
            mapping = mmap.mmap(handle, status.st_size, access=mmap.ACCESS_READ)
        return memoryview(mapping)[self.offset : self.offset + self.spec.nbytes]


@dataclass(frozen=True)
class Layout:
    """How a blob is laid out: what its name is computed from, but for the bytes."""

    start: int
    slots: tuple[Slot, ...]
    digests: tuple[str, ...]

    def is_of(self, blob: str) -> bool:
        return blob_digest(header(self.slots, self.start), self.digests) == blob


def copies_in_place(places: Places, tensors: Iterable[StoredTensor]) -> Iterator[tuple[str, StoredCopy]]:
    """Yield what is intact of tensors in damaged blobs, by digest; a header is not needed to find it."""
    for stored in tensors:
        copy = StoredCopy(places.blob(stored.location.blob), stored.location.offset, stored.spec)
        with contextlib.suppress(RegistryError, ValueError):
            if is_intact(stored, copy.buffer()):
                yield stored.digest, copy


def copies_anywhere(places: Places, wanted: Mapping[str, TensorSpec]) -> Iterator[tuple[str, StoredCopy]]:
    """Yield copies of tensors, by digest, from every file of the store, the quarantine included."""
    specs = set(wanted.values())
    for path in [*blob_files(places), *sorted(places.quarantine.glob("*"))]:
        with contextlib.suppress(RegistryError, ValueError), viewed(path, path.stem) as content:
            start, slots = read_header(content)
            for slot in slots:
                if slot.spec not in specs:
                    continue
                hasher = tensor_hasher(slot.spec)
                with content[start + slot.offset : start + slot.offset + slot.spec.nbytes] as part:
                    hasher.update(part)
                if hasher.hexdigest() in wanted:
                    yield hasher.hexdigest(), StoredCopy(path, start + slot.offset, slot.spec)


def layout_of(blob: str, manifests: Iterable[Manifest]) -> Layout | None:
    """Return how a blob was laid out, as far as the versions that use it tell; None if they do not tell all of it.

    The push that wrote it named each tensor in it by the first name that the tensor had, and its version, or one that
    shares all of the file, still has these names. Whether that is so, the blob's own name proves.
    """
    for manifest in manifests:
        first: dict[int, tuple[str, StoredTensor]] = {}
        for name, stored in manifest.tensors.items():
            if stored.location.blob == blob:
                first.setdefault(stored.location.offset, (name, stored))
        if not first:
            continue
        start = min(first)
        slots = tuple(Slot(name, stored.spec, offset - start) for offset, (name, stored) in sorted(first.items()))
        layout = Layout(start, slots, tuple(stored.digest for _, (_, stored) in sorted(first.items())))
        with contextlib.suppress(ValueError, OverflowError):
            if layout.is_of(blob):
                return layout
    return None


def rebuild(
    places: Places,
    temporary: Path,
    blob: str,
    layout: Layout,
    sources: Sequence[Source],
    announce: Callable[[str], None],
) -> None:
    """Write a blob again from its tensors, in place of whatever bears its name.

    Raises:
        OSError, RegistryError: nothing has that name that had not before.
    """
    path = places.blob(blob)
    make_blob_folder(places, blob)
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            os.write(handle, header(layout.slots, layout.start))
            for source in sources:
                write_pieces(handle, source.buffer())
            os.fchmod(handle, 0o444)
            os.fsync(handle)
        finally:
            os.close(handle)
        announce(blob)
        temporary.rename(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
