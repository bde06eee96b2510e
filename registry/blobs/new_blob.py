"""A blob while it grows, until it is durable and has its name."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from registry.blobs.files import StoreFolders
from registry.blobs.layout import blob_digest
from registry.blobs.verification import stamp_new
from registry.blobs.workers import Workers
from registry.disk.folders import make_folder, sync_folder
from registry.disk.writing import Outflow, take_room, write_at
from registry.tensors.manifest import BlobRecord, Location
from registry.tensors.safetensors import TensorExtent, header
from registry.tensors.source import TensorSource
from registry.tensors.spec import TensorSpec, tensor_hasher

AT_ONCE = 16 << 20
"""Bytes from which on room on the disk is taken at once."""

PIECES_AHEAD = 4
"""Pieces that are read and hashed before they are written, so that neither side waits for the other at each."""

Announce = Callable[["str | None"], None]
"""Says, before anything is written, that a push is running; and which blob it makes, before that gets its name."""


class TooLate(Exception):
    """A tensor has to be written for which the header has no room."""


@dataclass(frozen=True)
class Hashed:
    """A tensor that may have to be written, and what is known of its content."""

    key: str
    spec: TensorSpec
    digest: str | None
    """None where it is not hashed yet."""
    content: memoryview | None
    """None where it is not held, and is read again."""
    source: TensorSource


class NewBlob:
    """A blob while it grows."""

    def __init__(self, path: Path, room: int | None, largest: int, announce: Announce) -> None:
        """Prepare one; there is a file only when there is something to write.

        Args:
            room: bytes of the header where it is written last; None if all tensors come at once.
            largest: bytes of data that may come.
        """
        self._path = path
        self._room = room
        self._largest = largest
        self._announce = announce
        self._handle: int | None = None
        self._out = Outflow(-1)
        self._hashing = Workers(1, "blake3")
        self._line = _Line(self._hashing, ())
        self._awaited: dict[str, TensorExtent] = {}
        self._slots: list[TensorExtent] = []
        self._digests: list[str] = []
        self._places: dict[str, TensorExtent] = {}
        """By digest."""
        self._nbytes = 0
        self._announced = ""
        self._head = b""
        self._start = 0

    def prepare(self, items: Sequence[Hashed]) -> None:
        """Make the header for these tensors and no others, which are then appended in this order."""
        if not items:
            return
        for item in items:
            self._add(item)
        self._awaited = {slot.key: slot for slot in self._slots}
        self._head = header(self._slots)
        self._announced = blob_digest(self._head, [item.digest for item in items if item.digest is not None])
        self._announce(self._announced)
        self._open(len(self._head))

    @property
    def end(self) -> int:
        """How many tensors it has."""
        return len(self._slots)

    def expect(self, items: Iterable[Hashed]) -> None:
        """Begin to read those of some tensors that are not hashed yet; they are then appended in this order."""
        self._line = _Line(self._hashing, [item.source for item in items if item.digest is None])

    def append(self, item: Hashed, known: Container[str]) -> str:
        """Write a tensor behind those that are there, and return its digest, which may have changed.

        Args:
            known: digests of what is stored elsewhere, and is not written.

        Raises:
            TooLate: the header was prepared without it.
        """
        slot = self._awaited.get(item.key)
        if slot is None:
            if item.digest is not None and (item.digest in known or item.digest in self._places):
                return item.digest
            self._begin()
        digest = self._written(item)
        if slot is None and digest in self._places:
            self._seek()
            return digest
        self._digests.append(digest)
        self._places.setdefault(digest, slot or self._add(item))
        return digest

    def go_back(self, end: int) -> None:
        """Leave out all tensors but the first, since one of the others is stored elsewhere."""
        for slot, digest in zip(self._slots[end:], self._digests[end:], strict=True):
            del self._places[digest]
            self._nbytes -= slot.spec.nbytes
        del self._slots[end:], self._digests[end:]
        self._seek()

    def finish(self, places: StoreFolders) -> BlobRecord | None:
        """Make the blob durable and give it its name; None if nothing was new."""
        if self._handle is None or not self._slots:
            self.discard()
            return None
        if self._room is not None:
            self._head = header(self._slots, self._room)
        digest = blob_digest(self._head, self._digests)
        if digest != self._announced:
            self._announce(digest)
        write_at(self._handle, memoryview(self._head), 0)
        os.ftruncate(self._handle, self._start + self._nbytes)
        os.fchmod(self._handle, 0o444)
        os.fsync(self._handle)
        self._end()
        path = places.blob(digest)
        make_blob_folder(places, digest)
        self._path.rename(path)
        sync_folder(path.parent)
        stamp_new(places, digest, path)
        return BlobRecord(digest, self._start + self._nbytes)

    def locations(self, blob: str) -> dict[str, Location]:
        """Return where the tensors are in the finished blob, by digest."""
        return {digest: Location(blob, self._start + slot.offset) for digest, slot in self._places.items()}

    def discard(self) -> None:
        self._end()
        self._path.unlink(missing_ok=True)

    def _end(self) -> None:
        self._hashing.close()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _add(self, item: Hashed) -> TensorExtent:
        slot = TensorExtent(item.key, item.spec, self._nbytes)
        self._slots.append(slot)
        self._nbytes += item.spec.nbytes
        return slot

    def _begin(self) -> None:
        if self._room is None:
            raise TooLate
        if self._handle is None:
            self._announce(None)
            self._open(self._room)

    def _open(self, start: int) -> None:
        self._start = start
        make_folder(self._path.parent, durable=False)
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if self._largest >= AT_ONCE:
            take_room(self._handle, self._start + self._largest)  # what is not needed is given back at the end
        self._out = Outflow(self._handle, start)

    def _seek(self) -> None:
        """Go to where the next tensor is written."""
        self._out.seek(self._start + self._nbytes)

    def _written(self, item: Hashed) -> str:
        """Write a tensor, and return the digest of what was written."""
        if item.content is not None:
            assert item.digest is not None
            self._out.write(item.content)
            return item.digest
        line = self._line if item.digest is None else _Line(self._hashing, [item.source])
        while isinstance(piece := line.next(), memoryview):
            self._out.write(piece)
        return piece


class _Line:
    """Tensors that another thread reads and hashes in turn, a few pieces before they are written."""

    def __init__(self, workers: Workers, sources: Sequence[TensorSource]) -> None:
        self._workers = workers
        self._pieces = _read_and_hashed(sources)
        self._coming: deque[Future[memoryview | str]] = deque()
        if sources:
            self._go_on()

    def next(self) -> memoryview | str:
        """Return the next piece of a tensor, and behind its last one its digest."""
        self._go_on()
        return self._coming.popleft().result()

    def _go_on(self) -> None:
        while len(self._coming) < PIECES_AHEAD:
            self._coming.append(self._workers.submit(next, self._pieces, ""))


def _read_and_hashed(sources: Iterable[TensorSource]) -> Iterator[memoryview | str]:
    for source in sources:
        hasher = tensor_hasher(source.spec)
        for piece in source.pieces():
            hasher.update(piece)
            yield piece
        yield hasher.hexdigest()


def make_blob_folder(places: StoreFolders, digest: str) -> None:
    """Make the folder that a blob goes into."""
    make_folder(places.blobs)
    make_folder(places.blob(digest).parent)
