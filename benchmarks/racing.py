"""Processes that push at once to one registry, against MLflow's SQLite store."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from benchmarks import children
from benchmarks.row import Row, at_least
from benchmarks.timing import rounds
from benchmarks.workshop import Workshop

PROCESSES = 8
LIMIT = "processor time of a push, shared by all processes, then fsync and one writer at a time"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Race both stores in turn, the processes being ready before the clock starts."""
    what = f"versions from {PROCESSES} racing processes, each durable"
    against, goal = "MLflow create_model_version on SQLite", at_least(5)
    folder = str(workshop.fresh_folder("racing"))
    has_mlflow = find_spec("mlflow") is not None
    fields = {"registry": Field("benchmarks.racing:push_versions", folder, workshop.scale.pushes)}
    try:
        if has_mlflow:
            fields["mlflow"] = Field("benchmarks.racing:create_mlflow_versions", folder, workshop.scale.pushes)
        figures = rounds({name: field.race for name, field in fields.items()}, workshop.pairs)
    finally:
        for field in fields.values():
            field.end()
    each = {name: tuple(1000 * value for value in values) for name, values in figures.items()}
    if not has_mlflow:
        rate = 1000 / sorted(each["registry"])[workshop.pairs // 2]
        yield Row("racing", what, against, goal, skipped=f"MLflow is not installed; {rate:.0f} versions a second here")
        return
    yield Row("racing", f"{what}, for each", against, goal, "ms", each["registry"], each["mlflow"], limit=LIMIT)


class Field:
    """Processes that wait for the start of a race, run it, and wait for the next."""

    def __init__(self, target: str, folder: str, pushes: int) -> None:
        self._pushes = pushes
        self._processes: list[subprocess.Popen[str]] = []
        for numbers in ((0,), range(1, PROCESSES)):  # the first makes the database
            started = [children.start(target, folder=folder, number=number, pushes=pushes) for number in numbers]
            self._processes += started
            self._answers(started)

    def race(self) -> float:
        """Return the seconds of one push, from the first start to the last end."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        times = [tuple(map(float, answer.split())) for answer in self._answers(self._processes)]
        return (max(end for _, end in times) - min(begin for begin, _ in times)) / (PROCESSES * self._pushes)

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


def push_versions(folder: str, number: int, pushes: int) -> None:
    """Push tiny checkpoints, each with weights of its own, whenever a line comes."""
    import torch

    from registry import Registry

    registry = Registry(f"{folder}/home")
    serial = iter(range(number, sys.maxsize, PROCESSES))

    def push() -> None:
        registry.push({"weight": torch.full((16,), float(next(serial)))}, "raced", from_="single")

    push()
    _run_races(push, pushes)


def create_mlflow_versions(folder: str, number: int, pushes: int) -> None:
    """Create versions in MLflow's store whenever a line comes."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db")
    if number == 0:
        store.create_registered_model("raced")
    source = f"file://{folder}/model"

    def create() -> None:
        store.create_model_version("raced", source)

    create()
    _run_races(create, pushes)


def _run_races(push: Callable[[], None], pushes: int) -> None:
    """Say when ready; then, at each line of the input, push, and say when that began and ended."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        begin = time.monotonic()  # the same clock in all processes
        for _ in range(pushes):
            push()
        sys.stdout.write(f"{begin} {time.monotonic()}\n")
        sys.stdout.flush()
