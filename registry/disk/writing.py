"""Writing much to a file so that the disk works from the first stretch on, and not only at the fsync."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable

PIECE = 1 << 20
"""Bytes that are written at a time."""

STRETCH = 4 << 20
"""Bytes after which the kernel is told to start writing them out."""


def write_pieces(handle: int, content: memoryview) -> None:
    """Write bytes, and have the kernel send each stretch to the disk while the next one is prepared."""
    left = 0
    for begin in range(0, len(content), PIECE):
        left = write_piece(handle, content[begin : begin + PIECE], left)


def write_piece(handle: int, piece: memoryview, left: int) -> int:
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
