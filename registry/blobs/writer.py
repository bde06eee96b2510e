"""Storing tensors: each is hashed, and those that no blob has yet become a new one.

What is hashed is what is written, also where a training writes to the tensors meanwhile: a source gives its values in
memory of their own. What is large is not held but read twice, to find out whether it is stored and to write it, and its
digest is that of what was written; to hash it again takes less than the memory to hold it.

Order: temporary file; data; header; fsync; the push's own record names the blob; rename; fsync of the folders. Only
then does the caller commit the version. Killed at any point, what is left is garbage that a collection finds.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from registry.blobs.files import StoreFolders
from registry.blobs.layout import blob_digest, ordered, reserve
from registry.blobs.sharing import Shares
from registry.blobs.verification import stamp_new
from registry.disk.folders import make_folder, sync_folder
from registry.tensors.manifest import BlobRecord, Location, StoredTensor
from registry.tensors.safetensors import TensorExtent, header
from registry.tensors.source import TensorSource
from registry.tensors.spec import TensorSpec, tensor_hasher

PIECE = 1 << 20
"""Bytes up to which a tensor is held from its hashing to its writing, and which are written at a time."""

STRETCH = 8 << 20
"""Bytes after which the kernel is told to start writing them out."""

BATCH_BYTES = 64 << 20
BATCH_TENSORS = 500
"""How much is hashed before the catalog is asked what of it is stored, and the rest written."""

HASHERS = max(1, min(2, (os.cpu_count() or 1) - 1))
"""Threads that hash. More would wait for the disk, and keep a core from the digest of the file, which takes longest."""

TINY = 1 << 20
"""Bytes up to which starting threads takes longer than hashing."""

SMALL = 256 << 20
"""Bytes up to which everything is hashed before anything is written, so that the header has room for what is new alone.
Above, room for all names is kept, which is nothing beside the data, and hashing and writing go on together."""


Progress = Callable[[int, int], object]
"""Called with (bytes done, bytes in all)."""
Announce = Callable[["str | None"], None]
"""Says, before anything is written, that a push is running; and which blob it makes, before that gets its name."""


@dataclass(frozen=True)
class Stored:
    """Where tensors are now."""

    tensors: Mapping[str, StoredTensor]
    new_blobs: tuple[BlobRecord, ...]
    unsound: frozenset[str] = frozenset()
    """Blobs that could have been shared, were they not missing or damaged."""


class _TooLate(Exception):
    """A tensor has to be written for which the header has no room."""


@dataclass(frozen=True)
class _Hashed:
    key: str
    spec: TensorSpec
    digest: str
    content: memoryview | None
    """None where it is not held, and is read again."""
    source: TensorSource


def store_tensors(
    places: StoreFolders,
    temporary: Path,
    tensors: Mapping[str, TensorSource],
    sharing: Shares,
    announce: Announce,
    progress: Progress | None,
    *,
    hold: bool = False,
    expected: Mapping[str, str] | None = None,
) -> Stored:
    """Store tensors by name; what may be shared is not written again.

    Args:
        temporary: where the new blob grows.
        announce: called before the first byte is written, and with the blob's digest before it gets its name.
        progress: called with (bytes done, bytes in all).
        hold: hold all tensors from their hashing to their writing.
        expected: digests by name, of sources that verify what they give; what is stored of them is not read.

    Raises:
        OSError: nothing was stored, and the temporary file is gone.
    """
    first: dict[Hashable, str] = {}
    for name, source in tensors.items():
        first.setdefault(source.identity, name)
    names = list(first.values())
    names = [names[position] for position in ordered([tensors[name].spec for name in names])]
    expected = expected or {}
    digests: dict[str, str] = {}
    known: dict[str, Location] = {}
    if expected:
        known.update(sharing.find([(expected[name], tensors[name].spec) for name in names]))
        digests.update({name: expected[name] for name in names if expected[name] in known})
        names = [name for name in names if name not in digests]
    total = sum(tensors[name].spec.nbytes for name in names)
    small = total <= SMALL
    room = None if small else reserve(names, [tensors[name].spec for name in names])
    blob = _NewBlob(temporary, room, total, announce)
    done = 0
    try:
        for batch in _batches(_hashed(names, tensors, total, hold, expected), whole=small):
            known.update(sharing.find([(item.digest, item.spec) for item in batch]))
            changed: dict[str, str] = {}
            left = batch
            while fresh := _fresh(left, known, blob):
                if changed and small:
                    raise _TooLate
                changed.update(blob.append(fresh))
                # What was to be stored once for two tensors may have changed in one of them.
                left = [item for item in left if item.key not in changed]
            for item in batch:
                digests[item.key] = changed.get(item.key, item.digest)
                done += item.spec.nbytes
                if progress is not None:
                    progress(done, total)
        new = blob.finish(places)
    except _TooLate:
        blob.discard()
        return store_tensors(places, temporary, tensors, sharing, announce, progress, hold=True, expected=expected)
    except BaseException:
        blob.discard()
        raise
    if new is not None:
        known.update(blob.locations(new.digest))
    stored = {
        name: StoredTensor(source.spec, digest, known[digest])
        for name, source in tensors.items()
        for digest in [digests[first[source.identity]]]
    }
    return Stored(stored, (new,) if new is not None else (), frozenset(sharing.unsound))


def _fresh(batch: Sequence[_Hashed], known: Mapping[str, Location], blob: _NewBlob) -> list[_Hashed]:
    """Return what has to be written, each content once."""
    fresh: dict[str, _Hashed] = {}
    for item in batch:
        if item.digest not in known and item.digest not in blob:
            fresh.setdefault(item.digest, item)
    return list(fresh.values())


def _hashed(
    names: Sequence[str], tensors: Mapping[str, TensorSource], total: int, hold: bool, expected: Mapping[str, str]
) -> Iterator[_Hashed]:
    """Yield tensors with their digests, in order."""

    def hashed(name: str) -> _Hashed:
        source = tensors[name]
        is_held = hold or not source.is_streamed or source.spec.nbytes <= PIECE
        if not is_held and name in expected:
            return _Hashed(name, source.spec, expected[name], None, source)  # hashed while it is written
        hasher = tensor_hasher(source.spec)
        content = source.buffer() if is_held else None
        for piece in source.pieces(own=False) if content is None else (content,):
            hasher.update(piece)
        return _Hashed(name, source.spec, hasher.hexdigest(), content, source)

    if total <= TINY:
        yield from map(hashed, names)
        return
    with ThreadPoolExecutor(HASHERS, thread_name_prefix="blake3") as pool:
        ahead: deque[tuple[int, Future[_Hashed]]] = deque()
        held = 0
        for name in names:
            nbytes = tensors[name].spec.nbytes
            while ahead and (held + nbytes > BATCH_BYTES or len(ahead) >= BATCH_TENSORS):
                freed, first = ahead.popleft()
                held -= freed
                yield first.result()
            ahead.append((nbytes, pool.submit(hashed, name)))
            held += nbytes
        for _, first in ahead:
            yield first.result()


def _batches(items: Iterator[_Hashed], *, whole: bool) -> Iterator[list[_Hashed]]:
    """Yield the items in batches to be written together; with ``whole`` all in one."""
    batch: list[_Hashed] = []
    held = 0
    for item in items:
        batch.append(item)
        held += item.spec.nbytes
        if not whole and (held >= BATCH_BYTES or len(batch) >= BATCH_TENSORS):
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


class _NewBlob:
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
        self._slots: list[TensorExtent] = []
        self._digests: list[str] = []
        self._places: dict[str, TensorExtent] = {}
        """By digest."""
        self._nbytes = 0
        self._announced = ""
        self._head = b""
        self._start = 0

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def append(self, items: Sequence[_Hashed]) -> dict[str, str]:
        """Write tensors behind those that are there; return, by key, the digests of those that have changed."""
        if not items:
            return {}
        first = len(self._slots)
        for item in items:
            self._slots.append(TensorExtent(item.key, item.spec, self._nbytes))
            self._nbytes += item.spec.nbytes
        if self._handle is None:
            self._open([item.digest for item in items])
        assert self._handle is not None
        changed = {}
        for item, slot in zip(items, self._slots[first:], strict=True):
            if item.content is not None:
                write_pieces(self._handle, item.content)
                digest = item.digest
            else:
                digest = _write_hashed(self._handle, item)
            self._digests.append(digest)
            self._places.setdefault(digest, slot)
            if digest != item.digest:
                changed[item.key] = digest
        return changed

    def finish(self, places: StoreFolders) -> BlobRecord | None:
        """Make the blob durable and give it its name; None if nothing was new."""
        if self._handle is None:
            return None
        if self._room is not None:
            self._head = header(self._slots, self._room)
        digest = blob_digest(self._head, self._digests)
        if digest != self._announced:
            self._announce(digest)
        os.pwrite(self._handle, self._head, 0)
        os.ftruncate(self._handle, self._start + self._nbytes)
        os.fchmod(self._handle, 0o444)
        os.fsync(self._handle)
        os.close(self._handle)
        self._handle = None
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
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        self._path.unlink(missing_ok=True)

    def _open(self, digests: Sequence[str]) -> None:
        if self._room is None:
            self._head = header(self._slots)
            self._announced = blob_digest(self._head, digests)
            self._announce(self._announced)
        else:
            self._announce(None)
        self._start = self._room if self._room is not None else len(self._head)
        make_folder(self._path.parent)
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if self._largest > SMALL and hasattr(os, "posix_fallocate"):
            # The whole room at once keeps the file in one piece; what is not needed is given back at the end.
            os.posix_fallocate(self._handle, 0, self._start + self._largest)
        os.lseek(self._handle, self._start, os.SEEK_SET)


def make_blob_folder(places: StoreFolders, digest: str) -> None:
    """Make the folder that a blob goes into."""
    make_folder(places.blobs)
    make_folder(places.blob(digest).parent)


def _write_hashed(handle: int, item: _Hashed) -> str:
    """Write a tensor that was not held, and return the digest of what was written."""
    hasher = tensor_hasher(item.spec)
    with ThreadPoolExecutor(1, thread_name_prefix="blake3") as pool:
        left = 0
        for piece in item.source.pieces():
            hashing = pool.submit(hasher.update, piece)
            left = _write(handle, piece, left)
            hashing.result()
    return hasher.hexdigest()


def write_pieces(handle: int, content: memoryview) -> None:
    """Write bytes, and have the kernel send each stretch to the disk while the next one is prepared."""
    left = 0
    for begin in range(0, len(content), PIECE):
        left = _write(handle, content[begin : begin + PIECE], left)


def _write(handle: int, piece: memoryview, left: int) -> int:
    """Write a piece, and return how many bytes the kernel has not been told yet to write out."""
    written = 0
    while written < len(piece):
        written += os.write(handle, piece[written:])
    left += len(piece)
    if left >= STRETCH:
        _start_writing_out(handle, left)
        left = 0
    return left


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function


_SYNC_FILE_RANGE_WRITE = 2


def _start_writing_out(handle: int, nbytes: int) -> None:
    """Let the kernel write out the last bytes now and not only at the fsync: the largest single gain of a push."""
    write_out(handle, os.lseek(handle, 0, os.SEEK_CUR) - nbytes, nbytes)


def write_out(handle: int, begin: int, nbytes: int) -> None:
    """Have the kernel start to send a part of a file to the disk."""
    function = _sync_file_range()
    if function is not None:
        function(handle, begin, nbytes, _SYNC_FILE_RANGE_WRITE)
