"""Whether bytes are those that were stored: hashed in the background, or believed by a stamp."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from registry.blobs.files import StoreFolders, fill, opened
from registry.disk.folders import write_small
from registry.errors.blobs import CorruptTensors, StoreUnreadable
from registry.tensors.manifest import StoredTensor
from registry.tensors.spec import tensor_digest, tensor_hasher

WORKERS = max(1, min(4, os.cpu_count() or 1))
_SECONDS = 0.05
"""Between two reports of progress."""

_MOST_EXTENTS = 64
"""How many versions' checks of one file a stamp remembers."""

Region = tuple[StoredTensor, list[str], memoryview]


@dataclass(frozen=True)
class Hashed:
    """A file that was hashed as a whole just now, and found to be what its name says."""

    status: os.stat_result
    tensors: Mapping[str, int]
    """Where each begins in the file, by digest."""

    def covers(self, status: os.stat_result, tensors: Iterable[StoredTensor]) -> bool:
        """Whether it is the file that has this status, untouched, and these tensors are where they are said to be."""
        is_it = _file(status) == _file(self.status)
        return is_it and all(self.tensors.get(each.digest) == each.location.offset for each in tensors)


class Verification:
    """Tensors being hashed by threads over the mapping that the tensors use, the largest first."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._left = deque(sorted(regions, key=lambda region: -region[0].spec.nbytes))
        self._corrupt: list[Region] = []
        self._failures: list[BaseException] = []
        self._total = sum(region[0].spec.nbytes for region in self._left)
        self._done: deque[int] = deque()
        self._threads: list[threading.Thread] = []
        try:
            for number in range(min(WORKERS, len(self._left))):
                thread = threading.Thread(target=self._work, name=f"verify-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError:  # there are as many as may be, or the interpreter ends: those that are there do it
            if not self._threads:
                self._work()

    def wait(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Return when all is checked.

        Args:
            progress: called by this thread with (bytes done, bytes in all), at the end with both the same.

        Raises:
            CorruptTensors: naming the tensors of the first blob that is damaged.
        """
        for thread in self._threads:
            while progress is not None and thread.is_alive():
                progress(sum(self._done.copy()), self._total)
                thread.join(_SECONDS)
            thread.join()
        if progress is not None and not self._failures:
            progress(self._total, self._total)
        if self._failures:
            raise self._failures[0]
        if self._corrupt:
            blob = self._corrupt[0][0].location.blob
            names = [name for stored, names, _ in self._corrupt if stored.location.blob == blob for name in names]
            raise CorruptTensors(blob, sorted(names))

    def _work(self) -> None:
        try:
            while True:
                try:
                    region = self._left.popleft()
                except IndexError:
                    return
                if not is_intact(region[0], region[2]):
                    self._corrupt.append(region)
                self._done.append(region[0].spec.nbytes)
        except BaseException as error:
            self._failures.append(error)


def is_intact(stored: StoredTensor, content: memoryview) -> bool:
    """Whether bytes have the digest that they had when they were stored."""
    return tensor_digest(stored.spec, content) == stored.digest


def verified(path: Path, name: str, stored: StoredTensor, step: int) -> Iterator[memoryview]:
    """Read a tensor in pieces of ``step`` bytes, each in memory that nobody else has, until the next is asked for.

    What is hashed is what was given, so whoever got to the end got what was stored.

    Args:
        path: of the blob.
        name: of the tensor, for the error.

    Raises:
        CorruptTensors: after the last piece: they were not what was stored.
        DamagedBlob, StoreUnreadable: the file is no blob that can be read, or is cut short.
    """
    blob, begin, nbytes = stored.location.blob, stored.location.offset, stored.spec.nbytes
    hasher = tensor_hasher(stored.spec, WORKERS if nbytes > step else 1)
    memory = memoryview(bytearray(min(step, nbytes)))
    with opened(path, blob) as (handle, _):
        for done in range(0, nbytes, step):
            piece = memory[: nbytes - done]
            try:
                fill(handle, piece, begin + done, blob)
            except OSError as error:
                raise StoreUnreadable(path, error.strerror or str(error)) from error
            hasher.update(piece)
            yield piece
    if hasher.hexdigest() != stored.digest:
        raise CorruptTensors(blob, [name])


def part(
    places: StoreFolders, name: str, stored: StoredTensor, begin: int, end: int, step: int
) -> Iterator[memoryview]:
    """Read a part of a tensor in pieces, each there until the next is asked for.

    Raises:
        CorruptTensors: before the first piece: the tensor is not what was stored.
        DamagedBlob, StoreUnreadable: the file is no blob that can be read, or is cut short.
    """
    blob = stored.location.blob
    path = places.blob(blob)
    memory = memoryview(bytearray(max(0, min(step, end - begin))))
    with opened(path, blob) as (handle, status):
        if not is_unchanged(places, blob, status):
            for _ in verified(path, name, stored, step):
                pass
        for done in range(begin, end, step):
            piece = memory[: end - done]
            try:
                fill(handle, piece, stored.location.offset + done, blob)
            except OSError as error:
                raise StoreUnreadable(path, error.strerror or str(error)) from error
            yield piece


def is_unchanged(places: StoreFolders, blob: str, status: os.stat_result) -> bool:
    """Whether a blob's file is as it was written or audited; rot of the disk does not show here."""
    return _stamped(places, blob, status) is not None


def is_stamped(places: StoreFolders, blob: str, status: os.stat_result, extent: str) -> bool:
    """Whether these tensors were hashed where they are now said to be, and the file was not touched since."""
    return extent in (_stamped(places, blob, status) or ())


def stamp_new(places: StoreFolders, blob: str, path: Path) -> None:
    """Stamp a file that was just made; that a collection has taken it again, its maker finds out at the end."""
    with contextlib.suppress(FileNotFoundError):
        stamp(places, blob, path.lstat())


def stamp(places: StoreFolders, blob: str, status: os.stat_result, extent: str | None = None) -> None:
    """Note that a blob is what it should be; in a home that cannot be written, it is checked again next time.

    Args:
        extent: which of its tensors were hashed; None of a blob that was just written.
    """
    checked = _stamped(places, blob, status) or []
    if extent is not None:
        checked = [*(other for other in checked if other != extent), extent][-_MOST_EXTENTS:]
    with contextlib.suppress(OSError):
        write_small(places.stamp(blob), json.dumps({"file": _file(status), "checked": checked}).encode())


def extent(tensors: Iterable[StoredTensor]) -> str:
    """Digest where tensors are said to be: a stamp of a file says nothing about an edited manifest."""
    places = sorted((stored.location.offset, stored.digest) for stored in tensors)
    return blake3(json.dumps(places).encode()).hexdigest()


def _stamped(places: StoreFolders, blob: str, status: os.stat_result) -> list[str] | None:
    """Return digests of which tensors were hashed where, for each version (``extent``) that asked for it.

    None where no stamp says that the file held what it should, or somebody has touched the file since.
    """
    try:
        record = json.loads(places.stamp(blob).read_bytes())
        return list(record["checked"]) if list(record["file"]) == _file(status) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _file(status: os.stat_result) -> list[int]:
    """Return device, inode, size, and times in ns of the last change of a file's content and of its entry."""
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
