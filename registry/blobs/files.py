"""Files of the store, opened without following links."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from registry.errors.blobs import DamagedBlob, StoreUnreadable
from registry.tensors.spec import check_digest, is_digest

_AT_ONCE = 64 << 20
"""Bytes of one read; Linux reads less than 2 GiB at once."""


class StoreFolders:
    """Where the parts of a store are."""

    def __init__(self, home: Path) -> None:
        # The home itself may be reached by a link; what lies in it may not be one.
        self.home = home.resolve()
        self.blobs = self.home / "blobs"
        self.temporary = self.home / "tmp"
        self.running = self.home / "running"
        self.stamps = self.home / "stamps"
        self.quarantine = self.home / "quarantine"
        self.backups = self.home / "backups"

    def blob(self, digest: str) -> Path:
        """Return the path of a blob; only a digest becomes a part of it."""
        try:
            check_digest(digest)
        except ValueError as error:
            raise DamagedBlob(str(digest)[:64], "has a name that is not a digest") from error
        return self.blobs / digest[:2] / f"{digest}.safetensors"

    def stamp(self, digest: str) -> Path:
        return self.stamps / self.blob(digest).with_suffix(".json").name


def digest_of(path: Path) -> str | None:
    """Return the digest that a file in the blobs' folder is named by, or None."""
    return path.stem if is_digest(path.stem) and path.suffix == ".safetensors" else None


def is_file(path: Path) -> bool:
    """Whether there is a regular file, reached by no link."""
    if any(part.is_symlink() for part in path.parents[:2]):
        return False
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def blob_files(places: StoreFolders) -> list[Path]:
    """Return what lies in the blobs' folders, by no link that leads elsewhere."""
    if places.blobs.is_symlink():
        return []
    folders = [folder for folder in places.blobs.glob("??") if folder.is_dir() and not folder.is_symlink()]
    return [path for folder in sorted(folders) for path in sorted(folder.iterdir())]


@contextlib.contextmanager
def opened(path: Path, blob: str) -> Iterator[tuple[int, os.stat_result]]:
    """Open a blob for reading: a regular file, and no link in place of it or of its folder.

    Raises:
        DamagedBlob: it is missing, or something else than a regular file.
        StoreUnreadable: the system refuses.
    """
    try:
        handle = open_below(path)
    except FileNotFoundError as error:
        raise DamagedBlob(blob, "is missing") from error
    except OSError as error:
        if any(part.is_symlink() for part in (path, *path.parents[:2])):
            raise DamagedBlob(blob, "is a symbolic link, which is never followed") from error
        raise StoreUnreadable(path, error.strerror or str(error)) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedBlob(blob, "is not a regular file")
        yield handle, status
    finally:
        os.close(handle)


def open_below(path: Path) -> int:
    """Open a file for reading; a link for its folder, or the one above, leads out of the home as one for it does."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    above = os.open(path.parents[1], flags | os.O_DIRECTORY)
    try:
        folder = os.open(path.parent.name, flags | os.O_DIRECTORY, dir_fd=above)
        try:
            return os.open(path.name, flags | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)
    finally:
        os.close(above)


def fill(handle: int, memory: memoryview, place: int, blob: str) -> None:
    """Read as many bytes as memory has, from ``place`` on.

    Raises:
        DamagedBlob: the file ends before.
        OSError: the system refuses.
    """
    done = 0
    while done < len(memory):
        count = os.preadv(handle, [memory[done : done + _AT_ONCE]], place + done)
        if not count:
            raise DamagedBlob(blob, f"is cut short (bytes up to {place + len(memory)} were stored)")
        done += count


@contextlib.contextmanager
def viewed(path: Path, blob: str) -> Iterator[memoryview]:
    """Give the bytes of a blob, mapped for reading.

    Raises:
        DamagedBlob, StoreUnreadable: it cannot be opened, or is empty.
    """
    with opened(path, blob) as (handle, status):
        if not status.st_size:
            raise DamagedBlob(blob, "is empty")
        with mmap.mmap(handle, status.st_size, access=mmap.ACCESS_READ) as mapping, memoryview(mapping) as content:
            yield content
