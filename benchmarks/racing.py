"""Processes that push at once to one registry, against MLflow's SQLite store."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blake3 import blake3

from benchmarks.by_hand import DURABLE, Rows
from benchmarks.field import Field, milliseconds_each, run_races
from benchmarks.row import Floor, Row, at_least
from benchmarks.timing import rounds
from benchmarks.workshop import Workshop

LIMIT = "processor time of a push, shared by all processes, then fsync and one writer at a time"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Race both stores in turn, both durable, and what neither can leave out."""
    racers = workshop.scale.racers
    what = f"versions from {racers} racing processes, each durable"
    against, goal = f"MLflow create_model_version on SQLite, {DURABLE}", at_least(3)
    folder, pushes = str(workshop.fresh_folder("racing")), workshop.scale.pushes
    has_mlflow = find_spec("mlflow") is not None
    targets = {"registry": "push_versions", "by hand": "store_by_hand"}
    if has_mlflow:
        targets["mlflow"] = "create_mlflow_versions"
    fields: dict[str, Field] = {}
    try:
        for name, target in targets.items():
            fields[name] = Field(f"benchmarks.racing:{target}", racers, folder=folder)
        sides = {name: lambda field=field: milliseconds_each(field.race(pushes)) for name, field in fields.items()}
        each = rounds(sides, workshop.pairs)
    finally:
        for field in fields.values():
            field.end()
    if not has_mlflow:
        rate = 1000 / sorted(each["registry"])[workshop.pairs // 2]
        yield Row("racing", what, against, goal, skipped=f"MLflow is not installed; {rate:.0f} versions a second here")
        return
    floor = Floor("inspect, then the same files by os and rows by SQLAlchemy", each["by hand"])
    yield Row(
        "racing", f"{what}, for each", against, goal, "ms", each["registry"], each["mlflow"],
        limit=LIMIT, floor=floor,
    )  # fmt: skip


def push_versions(folder: str, number: int) -> None:
    """Push tiny checkpoints, each with weights of its own, whenever a line comes."""
    import torch

    from registry import Registry

    registry = Registry(f"{folder}/home")
    serial = iter(range(number, sys.maxsize, 1000))

    def push() -> None:
        registry.push({"weight": torch.full((16,), float(next(serial)))}, "raced", from_="single")

    push()
    run_races(push)


def create_mlflow_versions(folder: str, number: int) -> None:
    """Create versions in MLflow's store whenever a line comes."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event

    store = SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db")
    event.listen(store.engine, "connect", _make_durable)
    store.engine.dispose()
    if number == 0:
        store.create_registered_model("raced")
    source = f"file://{folder}/model"

    def create() -> None:
        store.create_model_version("raced", source)

    create()
    run_races(create)


def _make_durable(connection: Any, record: object) -> None:
    connection.execute(DURABLE)


def store_by_hand(folder: str, number: int) -> None:
    """Look at a state dict as a push does, and do the rest by hand, its files and its rows, whenever a line comes."""
    import torch

    import registry

    place = Path(folder) / "by-hand"
    place.mkdir(exist_ok=True)
    rows = Rows(place)
    serial = iter(range(number, sys.maxsize, 1000))
    descriptor = os.open(place, os.O_RDONLY)

    def store() -> None:
        number = next(serial)
        registry.inspect({"weight": torch.full((16,), float(number))}, from_="single")
        content = bytes(400) + number.to_bytes(8, "little")
        tensor = blake3(content).hexdigest()
        blob = blake3(tensor.encode()).hexdigest()
        rows.find(tensor)
        lease = place / f"{tensor}.json"
        with lease.open("x") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(blob)
        with (place / f"{blob}.new").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        (place / f"{blob}.new").rename(place / blob)
        os.fsync(descriptor)
        (place / f"{blob}.stamp").write_text(tensor)
        rows.add(tensor, blob, len(content), [tensor], "x" * 400)
        lease.unlink()

    store()
    run_races(store)
