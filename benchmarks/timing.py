"""Both sides of a comparison in turn, so that whatever else the machine does falls on both alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

PAIRS = 5
"""Rounds of every comparison: the fewest whose median bears two disturbed ones."""

Side = Callable[[], float]
"""Does one side of a comparison once and returns its figure, mostly seconds."""


def timed(action: Callable[[], Any], before: Callable[[], None] | None = None) -> Side:
    """Return a side whose figure is the seconds of ``action``; its result is freed, and ``before`` runs, untimed."""

    def run() -> float:
        if before is not None:
            before()
        gc.collect()
        begin = time.perf_counter()
        result = action()
        seconds = time.perf_counter() - begin
        del result
        gc.collect()
        return seconds

    return run


def rounds(sides: Mapping[str, Side], pairs: int = PAIRS) -> dict[str, tuple[float, ...]]:
    """Run all sides in turn, ``pairs`` times, in an order that turns around each time; return the figures of each."""
    gc.collect()
    gc.freeze()  # or all that is imported is looked through twice around each measurement
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(pairs):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            figures[name].append(sides[name]())
    return {name: tuple(values) for name, values in figures.items()}


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios of the pairs."""
    return median(a / b if b else float("inf") for a, b in zip(above, below, strict=True))
