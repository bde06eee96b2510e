"""What comes from a network goes to a file in a thread of its own, so that neither waits for the other."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from registry.blobs.objects import Moved
from registry.disk.writing import Outflow

_MOST = 1
"""Pieces that are held before whoever brings more has to wait."""


class Behind:
    """Pieces that are written one behind the other, from a place on; when it is left, what was given is in the file.

    Args:
        moved: called by whoever gives pieces, with the bytes of each once it is written.
    """

    def __init__(self, handle: int, begin: int, moved: Moved) -> None:
        self._out = Outflow(handle, begin)
        self._moved = moved
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writing")
        self._writing: deque[Future[int]] = deque()

    def __enter__(self) -> Behind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._wait(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, content: bytes) -> None:
        """Write a piece; the next begins where it ends.

        Raises:
            OSError: one could not be written.
        """
        self._writing.append(self._pool.submit(self._write, content))
        self._wait(_MOST)

    def _wait(self, left: int) -> None:
        while len(self._writing) > left or (self._writing and self._writing[0].done()):
            self._moved(self._writing.popleft().result())

    def _write(self, content: bytes) -> int:
        self._out.write(memoryview(content))
        return len(content)
