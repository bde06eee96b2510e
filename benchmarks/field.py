"""Processes that do the same thing at once, ready before the clock starts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from benchmarks import children


@dataclass(frozen=True)
class Finish:
    """What one process did in a race: when it began and ended, and how long each of its calls took, in seconds."""

    begin: float
    end: float
    taken: tuple[float, ...]


class Field:
    """Processes that wait for the start of a race, run it, and wait for the next."""

    def __init__(self, target: str, count: int, **arguments: Any) -> None:
        """Start ``count`` of ``"pkg.mod:function"``, each with its ``number``; the first alone, to prepare it all."""
        self._processes: list[subprocess.Popen[str]] = []
        for numbers in (range(1), range(1, count)):
            started = [children.start(target, number=number, **arguments) for number in numbers]
            self._processes += started
            self._answers(started)

    def race(self, calls: int, count: int | None = None) -> list[Finish]:
        """Have ``count`` of them, or all, call so often."""
        racing = self._processes[:count]
        for process in racing:
            assert process.stdin is not None
            process.stdin.write(f"{calls}\n")
            process.stdin.flush()
        return [Finish(*json.loads(answer)) for answer in self._answers(racing)]

    def end(self) -> None:
        """Let the processes end."""
        for process in self._processes:
            process.communicate()

    @staticmethod
    def _answers(processes: list[subprocess.Popen[str]]) -> list[str]:
        answers = []
        for process in processes:
            assert process.stdout is not None
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError("a racing process ended early")
            answers.append(answer)
        return answers


def run_races(call: Callable[[], object]) -> None:
    """Say when ready; then, at each line of the input, call as often as it says, and tell how that went."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        taken = []
        begin = before = time.monotonic()  # the same clock in all processes
        for _ in range(int(line)):
            call()
            taken.append(time.monotonic() - before)
            before = time.monotonic()
        sys.stdout.write(f"{json.dumps((begin, before, taken))}\n")
        sys.stdout.flush()


def milliseconds_each(finishes: Sequence[Finish]) -> float:
    """Return the time of a call, from the first start to the last end: one by the rate of all together."""
    calls = sum(len(finish.taken) for finish in finishes)
    return 1000 * (max(finish.end for finish in finishes) - min(finish.begin for finish in finishes)) / calls


def described(each: float, taken: Sequence[float]) -> str:
    """Return a rate and how long a call takes, in words.

    Args:
        each: milliseconds of a call by the rate.
        taken: seconds of each single call.
    """
    places = quantiles(taken, n=100)
    return f"{1000 / each:.0f} a second, p50 {1000 * places[49]:.3g} ms, p99 {1000 * places[98]:.3g} ms"
