"""Very many versions in one home, and a hundredth of them in another: what is looked up takes as long in both."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count as counted
from pathlib import Path
from statistics import median

import torch

from benchmarks import searching
from benchmarks.children import COMMAND, run_python
from registry import Registry

_MOST_TIMES = 4.0
"""By which a hundred times as many versions may slow down what looks at a few of them."""
_FLAT = ("resolve", "newest 50", "best 50 by a metric", "push", "audit of one", "list as a process")
_ROUNDS = 5

Say = Callable[[str], None]


def run(folder: Path, *, count: int, say: Say) -> list[str]:
    """Do it, and return what is not as it should be."""
    figures: dict[str, list[float]] = {}
    for versions in (max(searching.MODELS, count // 100), count):
        home = folder / f"home-{versions}"
        home.mkdir()
        begin = time.perf_counter()
        searching.fill(home, versions)
        size = (home / "registry.db").stat().st_size
        say(f"{versions:,} versions, written in {time.perf_counter() - begin:.0f} s: {size / 1e6:,.0f} MB of database")
        for what, seconds in _measured(home).items():
            figures.setdefault(what, []).append(seconds)
    faults = []
    for what, (few, many) in figures.items():
        say(f"{what}: {1000 * few:.2f} ms, {1000 * many:.2f} ms; {many / few:.2f} times")
        if what in _FLAT and many > _MOST_TIMES * few:
            faults.append(f"{what} takes {many / few:.1f} times as long among {count:,} versions")
    return faults


def _measured(home: Path) -> dict[str, float]:
    """Return the seconds of each verb, the median of a few rounds."""
    hub = Registry(home)
    seeds = counted(1)

    def push() -> None:
        hub.push({"weight": torch.full((256,), float(next(seeds)))}, "pushed", from_="single")

    push()
    verbs: dict[str, Callable[[], object]] = {
        "resolve": lambda: hub.get("model-7:best"),
        "newest 50": lambda: hub.list(limit=50),
        "best 50 by a metric": lambda: hub.list("sort:-acc", limit=50),
        "push": push,
        "audit of one": lambda: hub.audit("pushed:v1"),
        "list as a process": lambda: run_python(COMMAND, "list", REGISTRY_HOME=str(home)),
        "plan of a collection": lambda: hub.gc(dry_run=True),
    }
    taken = {}
    for what, verb in verbs.items():
        verb()
        taken[what] = median(_seconds(verb) for _ in range(_ROUNDS))
    hub.close()
    return taken


def _seconds(verb: Callable[[], object]) -> float:
    begin = time.perf_counter()
    verb()
    return time.perf_counter() - begin
