"""Compressed parts of files, inflated into a temporary file that has no name: each when it is first read, and once.

Nothing is held in memory, and no part becomes larger than was said of it before, whatever its bytes describe.
"""

from __future__ import annotations

import os
import tempfile
import threading
import zlib
from collections.abc import Iterator
from typing import IO

from registry.checkpoints.mapping import PIECE, Span
from registry.disk.writing import write_at
from registry.errors.checkpoints import DamagedCheckpoint, UnopenableCheckpoint

RAW = -15
"""The window of deflate without a header, as archives have it."""


class Scratch:
    """The room in which the parts of one file are inflated; it is gone when nothing refers to it."""

    def __init__(self, source: str) -> None:
        """Take the file, as it is named to the user."""
        self._source = source
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._end = 0

    def part(self, content: Span, size: int, name: str) -> Span:
        """Return the ``size`` bytes that a compressed part becomes; nothing is inflated until they are read."""
        return Span(_Inflated(self, content, size, name), 0, size)

    def read(self, part: _Inflated, begin: int, count: int) -> bytes:
        """Return inflated bytes of a part.

        Raises:
            DamagedCheckpoint: it does not become what was said of it.
            UnopenableCheckpoint: there is no room for it.
        """
        with self._lock:
            if part.place is None:
                part.place = self._inflated(part)
            file = self._opened()
        return os.pread(file.fileno(), count, part.place + begin)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it is closed when nothing reads it
        return self._file

    def _inflated(self, part: _Inflated) -> int:
        """Inflate a part behind the others, and return where it begins."""
        try:
            file, base = self._opened(), self._end
            done = 0
            for piece in inflated(part.content, RAW):
                done += len(piece)
                if done > part.size:
                    break
                write_at(file.fileno(), memoryview(piece), base + done - len(piece))
        except zlib.error as error:
            raise DamagedCheckpoint(self._source, f"'{part.name[:60]}' cannot be inflated ({error})") from error
        except OSError as error:
            raise UnopenableCheckpoint(
                self._source,
                f"it is compressed, and there is no room to inflate it in {tempfile.gettempdir()} ({error.strerror}); "
                f"free some space, or set TMPDIR to a folder with {part.size >> 20} MiB",
            ) from error
        if done != part.size:
            raise DamagedCheckpoint(self._source, f"'{part.name[:60]}' does not have the size that its directory says")
        self._end = base + done
        return base


class _Inflated:
    """What one part becomes."""

    def __init__(self, scratch: Scratch, content: Span, size: int, name: str) -> None:
        self._scratch = scratch
        self.content = content
        self.size = size
        self.name = name
        self.place: int | None = None
        """Where it begins in the temporary file, when it is there."""

    def read(self, begin: int, count: int) -> bytes:
        return self._scratch.read(self, begin, count)


def inflated(content: Span, window: int) -> Iterator[bytes]:
    """Yield what compressed bytes become, in pieces of bounded size.

    Raises:
        zlib.error: they are none.
    """
    machine = zlib.decompressobj(window)
    for piece in content.pieces(1 << 16):
        left = piece
        while left and not machine.eof:
            out = machine.decompress(left, PIECE)
            left = machine.unconsumed_tail
            if out:
                yield out
    while not machine.eof and (out := machine.decompress(b"", PIECE)):
        yield out
