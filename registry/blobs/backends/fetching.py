"""How a blob comes into a cache: once, whichever process of this machine wants it, checked before it has its name."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.blobs.backends.local import LocalStore, worded
from registry.blobs.collection import Garbage
from registry.blobs.objects import Moved, unmoved
from registry.blobs.store import Examined
from registry.blobs.verification import Hashed
from registry.blobs.writer import Progress
from registry.disk.folders import make_folder
from registry.errors.blobs import DamagedBlob

FETCHING = "fetching"
"""Folder of a cache in which blobs grow that are being fetched."""

_ABANDONED_SECONDS = 24 * 3600.0
"""After which what has come of a blob is garbage, if nobody goes on with it."""

Receive = Callable[[str, int, Path, Moved], Examined]
"""Receives a blob into an open file of a path, and says what the whole is."""


def fetch(cache: LocalStore, blob: str, receive: Receive, moved: Moved = unmoved) -> Hashed | None:
    """Bring a blob into a cache, if it is not there; nothing, where there is no object.

    Of the processes that want it one receives it, and the others wait for that.

    Args:
        moved: called with the bytes that came since the last call.

    Returns:
        What was hashed on its way; None where that was not now, and not here.

    Raises:
        DamagedBlob: what came is not what it should be.
        StoreUnwritable
    """
    if cache.is_in_place(blob):
        _note_use(cache, blob)
        return None
    with _alone(cache, blob) as (handle, path):
        if cache.is_in_place(blob):
            return None
        was_there = os.fstat(handle).st_size > 0
        try:
            found = receive(blob, handle, path, moved)
            if found.fault is not None and was_there:  # what came before was of something else
                os.ftruncate(handle, 0)
                found = receive(blob, handle, path, moved)
        except FileNotFoundError:
            path.unlink()
            return None
        if found.fault is not None:
            path.unlink()
            raise DamagedBlob(blob, found.fault)
        cache.adopt(path, blob)
        return Hashed(os.fstat(handle), found.tensors)


def abandoned(cache: LocalStore) -> list[Garbage]:
    """Return what came of blobs whose fetching broke off long ago."""
    found = []
    for path in (cache.places.home / FETCHING).glob("*.part"):
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if time.time() - status.st_mtime > _ABANDONED_SECONDS:
                found.append(Garbage(f"{FETCHING}/{path.name}", status.st_size, None))
    return found


class Report:
    """A progress that is told what was moved since it was last told."""

    def __init__(self, progress: Progress | None, total: int, done: int = 0, scale: float = 1.0) -> None:
        self._progress = progress
        self._total = total
        self._done: float = done
        self._scale = scale

    def add(self, nbytes: int) -> None:
        self._done += nbytes * self._scale
        if self._progress is not None:
            self._progress(min(int(self._done), self._total), self._total)


@contextlib.contextmanager
def _alone(cache: LocalStore, blob: str) -> Iterator[tuple[int, Path]]:
    """Give the file that a blob is fetched into, once no other process fetches it."""
    folder = cache.places.home / FETCHING
    with worded(folder):
        make_folder(folder)
        path = folder / f"{blob}.part"
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                is_same = path.stat().st_ino == os.fstat(handle).st_ino
            except FileNotFoundError:
                is_same = cache.is_in_place(blob)  # whoever had it gave it its name
            if is_same:
                break
            os.close(handle)
    try:
        yield handle, path
    finally:
        os.close(handle)


def _note_use(cache: LocalStore, blob: str) -> None:
    """Say by the time of its stamp that a blob was used: the others are trimmed first."""
    with contextlib.suppress(OSError):
        os.utime(cache.places.stamp(blob))
