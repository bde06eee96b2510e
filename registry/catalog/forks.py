"""A fork waits until no other thread is in a transaction.

SQLite notes for the whole process which locks it has on a file. A child inherits the notes, but neither the locks nor
the thread that would let go of them: it could not change the catalog again, and would read without a lock.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator

PATIENCE_SECONDS = 5.0
"""How long a fork waits; a change takes milliseconds."""


class _Busy:
    """The threads that are in a transaction, each with in how many."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.threads: Counter[int] = Counter()


_busy = _Busy()


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """Have forks by other threads wait for the end of the block; a thread that forks in it knows what it does."""
    thread = threading.get_ident()
    with _busy.changed:
        _busy.threads[thread] += 1
    try:
        yield
    finally:
        with _busy.changed:
            _busy.threads[thread] -= 1
            if _busy.threads[thread] <= 0:
                del _busy.threads[thread]
            _busy.changed.notify_all()


def _wait() -> None:
    own = threading.get_ident()
    _busy.changed.acquire()  # held until the fork is done, so that no transaction begins
    if not _busy.changed.wait_for(lambda: not _busy.threads.keys() - {own}, PATIENCE_SECONDS):
        _busy.threads.clear()  # what an interrupt may have left keeps no later fork


def _go_on() -> None:
    _busy.changed.release()


def _begin_anew() -> None:
    global _busy
    own = threading.get_ident()
    inherited, _busy = _busy, _Busy()
    if count := inherited.threads[own]:
        _busy.threads[own] = count


os.register_at_fork(before=_wait, after_in_parent=_go_on, after_in_child=_begin_anew)
