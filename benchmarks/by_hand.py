"""What no catalog over SQLAlchemy can leave out: its rows, with the SQL by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3
from sqlalchemy import create_engine, text

DURABLE = "PRAGMA synchronous=FULL"

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
INSERT OR IGNORE INTO models (name, next_number) VALUES ('pushed', 1);
INSERT INTO trail SELECT 0, '' WHERE NOT EXISTS (SELECT 1 FROM trail);
"""


_FIND = text("SELECT blob_id FROM stored_tensors WHERE digest = :digest")
_MODEL = text("SELECT id, next_number FROM models WHERE name = 'pushed'")
_SAME = text("SELECT id FROM versions WHERE model_id = :model AND weights = :weights")
_ADD_BLOB = text("INSERT INTO blobs (digest, nbytes) VALUES (:digest, :nbytes) RETURNING id")
_ADD_TENSOR = text('INSERT INTO stored_tensors (digest, blob_id, "offset") VALUES (:digest, :blob, :offset)')
_NEXT = text("UPDATE models SET next_number = next_number + 1 WHERE id = :model")
_ADD_VERSION = text(
    "INSERT INTO versions (model_id, number, weights, facts) VALUES (:model, :number, :weights, :facts) RETURNING id"
)
_ADD_MANIFEST = text("INSERT INTO documents (version_id, kind, body) VALUES (:version, 'manifest', :body)")
_NEED = text("INSERT INTO version_blobs (version_id, blob_id) VALUES (:version, :blob)")
_END = text("SELECT length, hash FROM trail")
_ADD_EVENT = text("INSERT INTO events (id, name, details, hash) VALUES (:id, 'pushed', :details, :hash)")
_MOVE_END = text("UPDATE trail SET length = :length, hash = :hash")


class Rows:
    """The tables of a home, as few as will do; what is committed is durable."""

    def __init__(self, folder: Path) -> None:
        self._engine = create_engine(
            f"sqlite:///{folder / 'rows.db'}", connect_args={"timeout": 60, "isolation_level": None}
        )
        self._connection = self._engine.connect()
        driver: Any = self._connection.connection.driver_connection
        driver.execute("PRAGMA journal_mode=WAL")
        driver.execute(DURABLE)
        driver.executescript(_TABLES)

    def find(self, tensor: str) -> None:
        """Ask whether a tensor is stored."""
        self._connection.execute(_FIND, {"digest": tensor}).all()

    def add(self, weights: str, blob: str, nbytes: int, tensors: Sequence[str], manifest: str) -> None:
        """Add a version of one blob.

        Args:
            weights: the digest of all tensors.
            blob: the file's digest.
            tensors: the digest of each.
        """
        run, facts = self._connection.execute, "x" * 400
        self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        model, number = run(_MODEL).one()
        run(_SAME, {"model": model, "weights": weights}).all()
        blob_id = run(_ADD_BLOB, {"digest": blob, "nbytes": nbytes}).scalar_one()
        places = [{"digest": tensor, "blob": blob_id, "offset": offset} for offset, tensor in enumerate(tensors)]
        run(_ADD_TENSOR, places)
        run(_NEXT, {"model": model})
        row = {"model": model, "number": number, "weights": weights, "facts": facts}
        version = run(_ADD_VERSION, row).scalar_one()
        run(_ADD_MANIFEST, {"version": version, "body": manifest})
        run(_NEED, {"version": version, "blob": blob_id})
        length, last = run(_END).one()
        event = blake3(f"{last}{facts}".encode()).hexdigest()
        run(_ADD_EVENT, {"id": length + 1, "details": facts, "hash": event})
        run(_MOVE_END, {"length": length + 1, "hash": event})
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()
