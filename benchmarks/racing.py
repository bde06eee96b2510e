"""Processes that push at once to one registry, against MLflow's SQLite store."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.field import Field, milliseconds_each, run_races
from benchmarks.row import Floor, Row, at_least
from benchmarks.timing import rounds
from benchmarks.workshop import Workshop

LIMIT = "processor time of a push, shared by all processes, then fsync and one writer at a time"
DURABLE = "PRAGMA synchronous=FULL"


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
    floor = Floor("a file, two fsyncs and a row in sqlite3 by hand", each["by hand"])
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
    """Make a small file durable, and a row of SQLite, whenever a line comes."""
    place = Path(folder) / "by-hand"
    place.mkdir(exist_ok=True)
    connection = sqlite3.connect(place / "rows.db", timeout=60, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(DURABLE)
    connection.execute("CREATE TABLE IF NOT EXISTS versions (id INTEGER PRIMARY KEY, name TEXT)")
    serial = iter(range(number, sys.maxsize, 1000))
    descriptor = os.open(place, os.O_RDONLY)

    def store() -> None:
        name = f"{next(serial)}.bin"
        with (place / f"{name}.new").open("wb") as file:
            file.write(bytes(64))
            file.flush()
            os.fsync(file.fileno())
        (place / f"{name}.new").rename(place / name)
        os.fsync(descriptor)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO versions (name) VALUES (?)", (name,))
        connection.execute("COMMIT")

    store()
    run_races(store)
