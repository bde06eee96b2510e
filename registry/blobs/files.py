"""Files of the store: opened without following links, made durable before they have a name."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from registry.errors.blobs import DamagedBlob, StoreUnreadable

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Places:
    """Where the parts of a store are."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.blobs = home / "blobs"
        self.temporary = home / "tmp"
        self.running = home / "running"
        self.stamps = home / "stamps"
        self.quarantine = home / "quarantine"

    def blob(self, digest: str) -> Path:
        """Return the path of a blob; only a digest becomes a part of it."""
        if not _DIGEST.fullmatch(digest):
            raise DamagedBlob(digest[:64], "has a name that is no digest")
        return self.blobs / digest[:2] / f"{digest}.safetensors"

    def stamp(self, digest: str) -> Path:
        return self.stamps / self.blob(digest).with_suffix(".json").name


def digest_of(path: Path) -> str | None:
    """Return the digest that a file in the blobs' folder is named by, or None."""
    return path.stem if _DIGEST.fullmatch(path.stem) and path.suffix == ".safetensors" else None


@contextlib.contextmanager
def opened(path: Path, blob: str) -> Iterator[tuple[int, os.stat_result]]:
    """Open a blob for reading: a regular file, and no link in place of it or of its folder.

    Raises:
        DamagedBlob: it is missing, or something else than a regular file.
        StoreUnreadable: the system refuses.
    """
    try:
        # A link for the folder ab/ would lead out of the home as one for the file does.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            handle = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
    except FileNotFoundError as error:
        raise DamagedBlob(blob, "is missing") from error
    except OSError as error:
        if path.is_symlink() or path.parent.is_symlink():
            raise DamagedBlob(blob, "is a symbolic link, which is never followed") from error
        raise StoreUnreadable(path, error) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedBlob(blob, "is no regular file")
        yield handle, status
    finally:
        os.close(handle)


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


def write_small(path: Path, content: bytes) -> None:
    """Replace a small file, whole or not at all; it need not survive a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        temporary.write_bytes(content)
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
