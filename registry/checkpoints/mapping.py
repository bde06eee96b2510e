"""Files of strangers, opened safely and read by position.

They are never mapped: whoever cuts a mapped file short kills the process that looks at it, and a training loop that
saves its checkpoint anew does just that. What is read is in memory of its own, which nobody else writes to.
"""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from isal import isal_zlib

from registry.errors.checkpoints import NoSuchCheckpoint, NotACheckpoint, UnopenableCheckpoint
from registry.errors.intake import ChangedCheckpoint
from registry.errors.root import RegistryError

PIECE = 1 << 20
"""Bytes that are read at a time; what was read is still in the processor's cache when it is hashed and written."""

MOST_OPEN = 200
"""Files that are held open; of a folder with more, the others are opened for each read and must be the same."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class OpenedFile:
    """A regular file that stays the one that was opened, whatever its path leads to later."""

    _held = 0
    _lock = threading.Lock()

    def __init__(self, path: Path) -> None:
        """Open it.

        Opening a named pipe would wait for its writer and a device may act on being opened, so the file is opened
        without waiting and looked at before anything is read.

        Raises:
            NoSuchCheckpoint, UnopenableCheckpoint: it cannot be opened.
            NotACheckpoint: it is no regular file, or empty.
        """
        self.path = path
        self._descriptor: int | None = None
        try:
            descriptor = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:
            raise unopenable(path, error) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "no regular file")
                raise NotACheckpoint(str(path), kind, "copy it into a file first")
            if status.st_size == 0:
                raise NotACheckpoint(str(path), "an empty file of 0 bytes", "copy or save it again", False)
        except BaseException:
            os.close(descriptor)
            raise
        self._stamp = _stamp(status)
        self.size = status.st_size
        with OpenedFile._lock:
            is_held = OpenedFile._held < MOST_OPEN
            OpenedFile._held += is_held
        if is_held:
            self._descriptor = descriptor
        else:
            os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]
            with OpenedFile._lock:
                OpenedFile._held -= 1

    def read(self, begin: int, count: int) -> bytes:
        """Return bytes that lie inside.

        Raises:
            ChangedCheckpoint: it was cut short, or is another file by now.
            UnopenableCheckpoint: the system cannot read it.
        """
        try:
            if self._descriptor is not None:
                return self._read(self._descriptor, begin, count)
            descriptor = os.open(self.path, _FLAGS)
            try:
                if _stamp(os.fstat(descriptor)) != self._stamp:
                    raise ChangedCheckpoint(str(self.path))
                return self._read(descriptor, begin, count)
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            raise ChangedCheckpoint(str(self.path)) from error
        except OSError as error:
            raise unopenable(self.path, error) from error

    def _read(self, descriptor: int, begin: int, count: int) -> bytes:
        content = os.pread(descriptor, count, begin)
        if len(content) < count:  # a signal, or more than the system reads at once
            parts = [content]
            while (have := sum(map(len, parts))) < count:
                parts.append(os.pread(descriptor, count - have, begin + have))
                if not parts[-1]:
                    raise ChangedCheckpoint(str(self.path))
            content = b"".join(parts)
        return content

    @property
    def modified(self) -> int:
        """When it was last written to, in nanoseconds since 1970, as it was when it was opened."""
        return self._stamp[3]

    def is_changed(self) -> bool:
        """Whether somebody wrote to it since it was opened; another file that took its path is no change of it."""
        try:
            status = os.fstat(self._descriptor) if self._descriptor is not None else self.path.stat()
        except OSError:
            return True
        return _stamp(status) != self._stamp


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """Bytes in memory, in place of a file."""

    content: bytes

    def read(self, begin: int, count: int) -> bytes:
        return self.content[begin : begin + count]


class Readable(Protocol):
    """Bytes that are read by position."""

    def read(self, begin: int, count: int) -> bytes:
        """Return bytes that lie inside."""


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes of a file."""

    file: Readable
    begin: int
    size: int

    def __len__(self) -> int:
        return self.size

    def part(self, begin: int, end: int) -> Span:
        """Return the part from one position to another, cut where the span ends."""
        begin, end = min(begin, self.size), min(end, self.size)
        return Span(self.file, self.begin + begin, max(end - begin, 0))

    def read(self, begin: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from one position to another, or to where the span ends.

        Raises:
            ChangedCheckpoint, UnopenableCheckpoint: they cannot be read any more.
        """
        part = self.part(begin, self.size if end is None else end)
        return part.file.read(part.begin, part.size) if part.size else b""

    def pieces(self, size: int = PIECE) -> Iterator[bytes]:
        """Yield all of it, in order.

        Raises:
            ChangedCheckpoint, UnopenableCheckpoint: they cannot be read any more.
        """
        for begin in range(0, self.size, size):
            yield self.read(begin, begin + size)

    def crc32(self) -> int:
        """Return the checksum that zip archives have of their members."""
        crc = 0
        for piece in self.pieces():
            crc = isal_zlib.crc32(piece, crc)
        return crc


def held(content: bytes) -> Span:
    """Return bytes in memory as a span."""
    return Span(MemoryFile(content), 0, len(content))


def open_span(path: Path) -> Span:
    """Open a regular file.

    Raises:
        NoSuchCheckpoint, UnopenableCheckpoint: it cannot be opened.
        NotACheckpoint: it is no regular file, or empty.
    """
    file = OpenedFile(path)
    return Span(file, 0, file.size)


def status_of(path: Path) -> os.stat_result:
    """Return what the system says of a path that a user gave, or that a file names; nothing is opened.

    Raises:
        NoSuchCheckpoint, UnopenableCheckpoint: it leads nowhere, or the system refuses it.
    """
    try:
        return path.stat()
    except (OSError, ValueError) as error:
        raise unopenable(path, error) from error


def is_regular(path: Path) -> bool:
    """Whether a path leads to a regular file; one that the system refuses does not, whatever its reason."""
    try:
        return stat.S_ISREG(status_of(path).st_mode)
    except RegistryError:
        return False


def _near(path: Path) -> str:
    """Return the path beside a mistyped one that is spelled nearly as it is, or else an empty text."""
    import difflib

    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, 10_000)]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name, names, 1, cutoff=0.7) or [n for n in names if Path(n).stem == path.name]
    return str(path.with_name(near[0])) if near else ""


def unopenable(path: Path, error: OSError | ValueError) -> NoSuchCheckpoint | UnopenableCheckpoint:
    """Word what the operating system said when a path was opened."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return NoSuchCheckpoint(str(path), _near(path))
    if isinstance(error, ValueError):
        return UnopenableCheckpoint(repr(str(path)), "its name holds a character that no file's name can have")
    reason = (error.strerror or "unknown reason").lower()
    return UnopenableCheckpoint(str(path), f"{reason} (error {error.errno} of the operating system)")


class SpanReader(io.RawIOBase):
    """A span as a seekable file, for readers of the standard library."""

    def __init__(self, content: Span, longest: int) -> None:
        """Wrap one; a read of more than ``longest`` bytes at once is an OSError."""
        self._content = content
        self._longest = longest
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

    def read(self, size: int = -1) -> bytes:
        end = len(self._content) if size < 0 else self._position + size
        if min(end, len(self._content)) - self._position > self._longest:
            raise OSError(f"its directory has more than {self._longest} bytes")
        piece = self._content.read(self._position, end)
        self._position += len(piece)
        return piece
