"""The facts of a version: one digest over all that the catalog says of it, which every event about it carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from blake3 import blake3

from registry.catalog import sql
from registry.catalog.connection import Connection
from registry.catalog.database import Database

_PLACES = ("id", "model_id")
"""Columns that say where a row is, not what it says."""


def digest(row: Mapping[str, Any], metrics: Mapping[str, Any], documents: Mapping[str, bytes]) -> str:
    """Digest a version's facts: its columns and its model's name, its metrics, its documents.

    Aliases are not among them: they belong to the model, and the trail tells of each move. What is null is left out,
    so that a column which is added later leaves the digests of the versions of before as they are. BLAKE3 over JSON
    with sorted keys, hexadecimal.
    """
    facts: dict[str, Any] = {
        column: value for column, value in row.items() if value is not None and column not in _PLACES
    }
    if metrics:
        facts["metrics"] = metrics
    if documents:
        facts["documents"] = {kind: blake3(body).hexdigest() for kind, body in documents.items()}
    # An edited row may hold bytes where text belongs: they have a text, too, which nothing else has.
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=repr)
    return blake3(text.encode()).hexdigest()


def of(connection: Connection, version: int) -> str:
    """Digest the facts of a version as the tables have them now."""
    row = connection.rows(sql.FACTS, {"version": version})[0]
    return digest(row._asdict(), *beside(connection, version))


def beside(connection: Connection | Database, version: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the metrics and the documents of a version."""
    metrics = {str(row.key): row.value for row in connection.rows(sql.METRICS, {"version": version})}
    documents = {str(row.kind): row.body for row in connection.rows(sql.DOCUMENTS, {"version": version})}
    return metrics, {kind: body if isinstance(body, bytes) else repr(body).encode() for kind, body in documents.items()}
