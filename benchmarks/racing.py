"""Processes that push at once to one registry, against MLflow's SQLite store."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blake3 import blake3

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
    floor = Floor("inspect, then the same files and rows by os and sqlite3 alone", each["by hand"])
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
    connection = sqlite3.connect(place / "rows.db", timeout=60, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(DURABLE)
    connection.executescript(_TABLES)
    serial = iter(range(number, sys.maxsize, 1000))
    descriptor = os.open(place, os.O_RDONLY)

    def store() -> None:
        number = next(serial)
        registry.inspect({"weight": torch.full((16,), float(number))}, from_="single")
        content = bytes(400) + number.to_bytes(8, "little")
        tensor = blake3(content).hexdigest()
        blob = blake3(tensor.encode()).hexdigest()
        connection.execute("SELECT blob_id FROM stored_tensors WHERE digest = ?", (tensor,)).fetchall()
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
        connection.execute("BEGIN IMMEDIATE")
        _add_rows(connection, tensor, blob, len(content))
        connection.execute("COMMIT")
        lease.unlink()

    store()
    run_races(store)


_TABLES = """
CREATE TABLE IF NOT EXISTS models (id INTEGER PRIMARY KEY, name TEXT UNIQUE, next_number INTEGER);
CREATE TABLE IF NOT EXISTS versions (
    id INTEGER PRIMARY KEY, model_id INTEGER, number INTEGER, weights TEXT, facts TEXT, UNIQUE (model_id, number)
);
CREATE INDEX IF NOT EXISTS by_weights ON versions (weights);
CREATE TABLE IF NOT EXISTS blobs (id INTEGER PRIMARY KEY, digest TEXT UNIQUE, nbytes INTEGER);
CREATE TABLE IF NOT EXISTS stored_tensors (digest TEXT PRIMARY KEY, blob_id INTEGER, "offset" INTEGER);
CREATE TABLE IF NOT EXISTS version_blobs (version_id INTEGER, blob_id INTEGER, PRIMARY KEY (version_id, blob_id));
CREATE TABLE IF NOT EXISTS documents (version_id INTEGER, kind TEXT, body TEXT, PRIMARY KEY (version_id, kind));
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, name TEXT, details TEXT, hash TEXT);
CREATE INDEX IF NOT EXISTS by_name ON events (name, id);
CREATE TABLE IF NOT EXISTS trail (length INTEGER, hash TEXT);
INSERT OR IGNORE INTO models (name, next_number) VALUES ('raced', 1);
INSERT INTO trail SELECT 0, '' WHERE NOT EXISTS (SELECT 1 FROM trail);
"""


def _add_rows(connection: sqlite3.Connection, tensor: str, blob: str, nbytes: int) -> None:
    run, text = connection.execute, "x" * 400
    model, number = run("SELECT id, next_number FROM models WHERE name = 'raced'").fetchone()
    run("SELECT id FROM versions WHERE model_id = ? AND weights = ?", (model, tensor)).fetchall()
    blob_id = run("INSERT INTO blobs (digest, nbytes) VALUES (?, ?)", (blob, nbytes)).lastrowid
    run("INSERT INTO stored_tensors VALUES (?, ?, 0)", (tensor, blob_id))
    run("UPDATE models SET next_number = next_number + 1 WHERE id = ?", (model,))
    row = (model, number, tensor, text)
    version = run("INSERT INTO versions (model_id, number, weights, facts) VALUES (?, ?, ?, ?)", row).lastrowid
    run("INSERT INTO documents VALUES (?, 'manifest', ?)", (version, text))
    run("INSERT INTO version_blobs VALUES (?, ?)", (version, blob_id))
    length, last = run("SELECT length, hash FROM trail").fetchone()
    event = blake3(f"{last}{text}".encode()).hexdigest()
    run("INSERT INTO events VALUES (?, 'raced', ?, ?)", (length + 1, text, event))
    run("UPDATE trail SET length = ?, hash = ?", (length + 1, event))
