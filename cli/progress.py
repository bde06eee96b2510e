"""A bar for what takes longer than a second, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_PATIENCE = 1.0
"""Seconds without a bar."""


@contextlib.contextmanager
def progress_bar(doing: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Give what a verb calls with (bytes done, bytes in all); the bar appears after a second, on standard error."""
    begun = time.monotonic()
    bar: Any = None
    task: Any = None

    def report(done: int, total: int) -> None:
        nonlocal bar, task
        if bar is None:
            if time.monotonic() - begun < _PATIENCE:
                return
            bar, task = _start(doing)
        bar.update(task, completed=done, total=total)

    def ignore(done: int, total: int) -> None:
        return

    try:
        yield ignore if quiet or not sys.stderr.isatty() else report
    finally:
        if bar is not None:
            bar.stop()


def _start(doing: str) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    bar.start()
    return bar, bar.add_task(doing, total=None)
