"""The facts of a version: one digest over all that the catalog says of it, which every event about it carries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from registry.catalog import statements
from registry.catalog.connection import Connection
from registry.catalog.database import Database

_SHA256 = "sha256:"
_PLACES = ("id", "model_id")
"""Columns that say where a row is, not what it says."""


def of(connection: Connection | Database, version: int) -> str:
    """Digest the facts of a version as the tables have them now."""
    row = connection.rows(statements.FACTS, version=version)[0]
    return digest(row._asdict(), beside(connection, version))


@dataclass(frozen=True)
class Beside:
    """What other tables say of a version."""

    metrics: Mapping[str, Any]
    tags: Mapping[str, Any]
    documents: Mapping[str, bytes]
    needs: Sequence[str]
    """Digests of blobs, sorted."""


def beside(connection: Connection | Database, version: int) -> Beside:
    """Read what other tables say of a version."""
    return Beside(
        {str(row.key): row.value for row in connection.rows(statements.METRICS, version=version)},
        {str(row.key): row.value for row in connection.rows(statements.TAGS, version=version)},
        {str(row.kind): row.body for row in connection.rows(statements.DOCUMENTS, version=version)},
        [row.digest for row in connection.rows(statements.NEEDS, version=version)],
    )


def digest(row: Mapping[str, Any], beside: Beside) -> str:
    """Digest a version's facts: its columns, its metrics, tags, documents and needed blobs.

    Aliases and the model's name are not among them: they belong to the model, and the trail tells of each move. What is
    null or empty is left out, so that what is added later leaves the digests of older versions as they are.
    BLAKE3 over JSON with sorted keys, hexadecimal.
    """
    facts = {column: value for column, value in row.items() if value is not None and column not in _PLACES}
    # As the first revisions of the schema had it, so that what was digested then has the same digest now.
    facts["name"] = facts.pop("sealed_as", None)
    if str(facts.get("source_digest", "")).startswith(_SHA256):
        facts["source_sha256"] = facts.pop("source_digest").removeprefix(_SHA256)
    # An edited row may hold bytes where a text belongs, or the reverse; their repr is a text that nothing else has.
    bodies = {
        kind: blake3(body if isinstance(body, bytes) else repr(body).encode()).hexdigest()
        for kind, body in beside.documents.items()
    }
    parts = {"metrics": beside.metrics, "tags": beside.tags, "documents": bodies, "needs": beside.needs}
    facts |= {name: part for name, part in parts.items() if part}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=repr)
    return blake3(text.encode()).hexdigest()
