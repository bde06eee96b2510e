"""Writing much to a file so that the disk works from the first stretch on, and not only at the fsync."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from typing import Any

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
    function = _of_system("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    if function is not None:
        function(handle, begin, nbytes, _SYNC_FILE_RANGE_WRITE)


def take_room(handle: int, nbytes: int) -> None:
    """Have the file system take room for an empty file, in one piece, where it can and has so much.

    ``os.posix_fallocate`` would write to each block where it cannot.
    """
    function = _of_system("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if function is not None and function(handle, 0, 0, nbytes):
        os.ftruncate(handle, 0)  # a part may have been taken


@functools.cache
def _of_system(name: str, *arguments: Any) -> Callable[..., int] | None:
    """Return a function of Linux; None elsewhere."""
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    function.argtypes = arguments  # type: ignore[attr-defined]
    return function


_SYNC_FILE_RANGE_WRITE = 2
