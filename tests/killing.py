"""Processes that are killed before any one of the statements that they send to a database."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Engine, event


def killed_at_each_statement(work: Callable[[], object], stride: int = 1, first: int = 1) -> Iterator[int]:
    """Run something in forked children, each killed before a later statement or commit, until one comes to its end.

    Yields:
        Which one it was, after the child is gone; not for the one that came to its end.
    """
    at = first
    while True:
        child = os.fork()
        if child == 0:
            _work_until(at, work)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        yield at
        at += stride


def _work_until(at: int, work: Callable[[], object]) -> None:
    left = at

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        event.listen(Engine, "before_cursor_execute", count)
        event.listen(Engine, "commit", count)
        work()
        code = 0
    finally:
        os._exit(code)
