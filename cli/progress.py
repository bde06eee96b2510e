"""A bar for what takes longer than a second, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE = 1.0
"""Seconds without a bar."""


def is_watched() -> bool:
    """Say whether someone looks at standard error, where bars are drawn."""
    return sys.stderr.isatty()


@contextlib.contextmanager
def progress_bar(doing: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], object]]:
    """Give what a verb calls with (bytes done, bytes in all); the bar appears after a second."""
    begun = time.monotonic()
    bar: Progress | None = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            if time.monotonic() - begun < _PATIENCE:
                return
            bar = _started(doing)
        bar.update(bar.task_ids[0], completed=done, total=total)

    def ignore(done: int, total: int) -> None:
        return

    try:
        yield ignore if quiet or not is_watched() else report
    finally:
        if bar is not None:
            bar.stop()


def _started(doing: str) -> Progress:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from .rendering import shown

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    bar.add_task(escape(shown(doing)), total=None)
    bar.start()
    return bar
