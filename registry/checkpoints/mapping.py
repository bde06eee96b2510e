"""Files of strangers, opened safely and mapped read-only."""

from __future__ import annotations

import io
import mmap
import os
import stat
from pathlib import Path

from registry.errors.checkpoints import NoSuchCheckpoint, NotACheckpoint, UnopenableCheckpoint

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def map_file(path: Path) -> memoryview:
    """Map a regular file; the mapping lives as long as a view of it does.

    Opening a named pipe would wait for its writer and a device may act on being opened, so the file is opened
    without waiting and looked at before anything is read.

    Raises:
        NoSuchCheckpoint, UnopenableCheckpoint: it cannot be opened.
        NotACheckpoint: it is no regular file, or empty.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise unopenable(path, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "no regular file")
            raise NotACheckpoint(str(path), kind, "copy it into a file first")
        if status.st_size == 0:
            raise NotACheckpoint(str(path), "an empty file of 0 bytes", "copy or save it again")
        return memoryview(mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ))
    except OSError as error:
        raise unopenable(path, error) from error
    finally:
        os.close(descriptor)


def unopenable(path: Path, error: OSError | ValueError) -> NoSuchCheckpoint | UnopenableCheckpoint:
    """Word what the operating system said when a path was opened."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return NoSuchCheckpoint(str(path))
    if isinstance(error, ValueError):
        return UnopenableCheckpoint(repr(str(path)), "its name holds a NUL character")
    reason = (error.strerror or "unknown reason").lower()
    return UnopenableCheckpoint(str(path), f"{reason} (error {error.errno} of the operating system)")


class MappedReader(io.RawIOBase):
    """A view of a mapped file as a seekable file, for readers of the standard library; it copies what is read."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._content)}[whence]
        if base + offset < 0:
            raise OSError("seek before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        piece = self._content[self._position : self._position + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)
