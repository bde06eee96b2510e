"""Threads that hash beside the one that writes, to the end also of a push that the interpreter waits for as it ends.

An executor of ``concurrent.futures`` takes nothing more from the moment on that the main thread has come to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """A few threads, which begin when there is something to do, and what they have to do, in order.

    Where none can be begun, whoever asks does it.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def submit(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        """Have something done, and return what will have its result."""
        future: Future[T] = Future()

        def task() -> None:
            try:
                result = work(*arguments)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        if len(self._threads) < self._most:
            self._begin()
        if self._threads:
            self._tasks.put(task)
        else:
            task()
        return future

    def close(self) -> None:
        """Wait until everything is done."""
        for _ in self._threads:
            self._tasks.put(None)
        while self._threads:
            thread = self._threads.pop()
            if thread.is_alive():  # one whose beginning was interrupted finds nothing to do
                thread.join()

    def _begin(self) -> None:
        # A daemon: the interpreter waits for the thread that pushes, and for none that an interrupt left to itself.
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:  # this user has as many as he may, or the interpreter ends: those that are there do it
            self._threads.remove(thread)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
