"""What no store of versions can leave out of its database: its rows, by sqlite3 alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from blake3 import blake3

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


class Rows:
    """The tables of a home, as few as will do; what is committed is durable."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "rows.db", timeout=60, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(DURABLE)
        self._connection.executescript(_TABLES)

    def find(self, tensor: str) -> None:
        """Ask whether a tensor is stored."""
        self._connection.execute("SELECT blob_id FROM stored_tensors WHERE digest = ?", (tensor,)).fetchall()

    def add(self, weights: str, blob: str, nbytes: int, tensors: Sequence[str], manifest: str) -> None:
        """Add a version of one blob.

        Args:
            weights: the digest of all tensors.
            blob: the file's digest.
            tensors: the digest of each.
        """
        run, text = self._connection.execute, "x" * 400
        run("BEGIN IMMEDIATE")
        model, number = run("SELECT id, next_number FROM models WHERE name = 'pushed'").fetchone()
        run("SELECT id FROM versions WHERE model_id = ? AND weights = ?", (model, weights)).fetchall()
        blob_id = run("INSERT INTO blobs (digest, nbytes) VALUES (?, ?)", (blob, nbytes)).lastrowid
        located = [(tensor, blob_id, offset) for offset, tensor in enumerate(tensors)]
        self._connection.executemany("INSERT INTO stored_tensors VALUES (?, ?, ?)", located)
        run("UPDATE models SET next_number = next_number + 1 WHERE id = ?", (model,))
        row = (model, number, weights, text)
        version = run("INSERT INTO versions (model_id, number, weights, facts) VALUES (?, ?, ?, ?)", row).lastrowid
        run("INSERT INTO documents VALUES (?, 'manifest', ?)", (version, manifest))
        run("INSERT INTO version_blobs VALUES (?, ?)", (version, blob_id))
        length, last = run("SELECT length, hash FROM trail").fetchone()
        event = blake3(f"{last}{text}".encode()).hexdigest()
        run("INSERT INTO events VALUES (?, 'pushed', ?, ?)", (length + 1, text, event))
        run("UPDATE trail SET length = ?, hash = ?", (length + 1, event))
        run("COMMIT")

    def close(self) -> None:
        self._connection.close()
