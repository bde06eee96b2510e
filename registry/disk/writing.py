"""Writing much to a file so that the disk works from the first stretch on, and not only at the fsync."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable

PIECE = 1 << 20
"""Bytes that are written at a time."""

STRETCH = 2 << 20
"""Bytes after which the kernel is told to start writing them out."""


class Outflow:
    """Bytes that go to a file one behind the other, each stretch to the disk while the next one is prepared.

    Args:
        at: where in the file the first goes.
    """

    def __init__(self, handle: int, at: int = 0) -> None:
        self._handle = handle
        self._begin = at
        """Behind what the kernel was told to write out."""
        self.at = at

    def write(self, content: memoryview) -> None:
        """Write bytes behind those before.

        Raises:
            OSError
        """
        for begin in range(0, len(content), PIECE):
            piece = content[begin : begin + PIECE]
            write_at(self._handle, piece, self.at)
            self.at += len(piece)
            if self.at - self._begin >= STRETCH:  # the largest single gain of a push
                write_out(self._handle, self._begin, self.at - self._begin)
                self._begin = self.at

    def seek(self, at: int) -> None:
        """Have the next bytes go to another place."""
        self.at = self._begin = at


def write_at(handle: int, content: memoryview, at: int) -> None:
    """Write all of some bytes to a place in a file, of which the system may take only a part at a time.

    Raises:
        OSError
    """
    while content:
        written = os.pwrite(handle, content, at)
        at, content = at + written, content[written:]


def write_out(handle: int, begin: int, nbytes: int) -> None:
    """Have the kernel start to send a part of a file to the disk."""
    function = _sync_file_range()
    if function is not None:
        function(handle, begin, nbytes, _SYNC_FILE_RANGE_WRITE)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function


_SYNC_FILE_RANGE_WRITE = 2
