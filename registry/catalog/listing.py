"""Entries from rows: every statement gives whole entries, and none of them touches a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from registry.canonical.arguments import Arguments
from registry.canonical.unwrap import Unwrapping
from registry.catalog import sql
from registry.catalog.database import Database
from registry.catalog.draft import Condition
from registry.catalog.entry import Entry

_NEVER = "1970-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class ModelSummary:
    """A name and how much is behind it."""

    name: str
    live: int
    """Versions outside the trash."""
    newest: int
    """Number of the newest of them; 0 where there is none."""
    changed_at: datetime
    """When the newest was pushed, in UTC."""
    aliases: tuple[tuple[str, int], ...]
    """Each with the version that it points to."""


def read(rows: Iterable[Any]) -> tuple[Entry, ...]:
    """Make the entries of the rows that a statement for whole entries gave."""
    return tuple(_entry(list(group)) for _, group in groupby(rows, key=lambda row: row.id))


def _entry(rows: list[Any]) -> Entry:
    """Return an entry; of a row that somebody edited so that it cannot be read, with what is legible of it.

    Such a one has no record digest, so that an audit names it and a load refuses it, and the others can be listed.
    """
    try:
        if any(bytes in map(type, row) for row in rows):
            raise TypeError("there are bytes where a text belongs")
        return _read(rows)
    except (ValueError, TypeError, KeyError, AttributeError):
        rows = [row._make(str(cell) if isinstance(cell, bytes) else cell for cell in row) for row in rows]
        neutral = {"unwrapping": json.dumps(Unwrapping().to_json()), "init": "{}", "dtypes": "{}", "record": ""}
        times = {"created_at": _NEVER, "trashed_at": _NEVER if rows[0].trashed_at else None}
        return _read([row._replace(**neutral, **times) for row in rows])


def _read(rows: list[Any]) -> Entry:
    row = rows[0]
    return Entry(
        name=row.name,
        version=row.number,
        digest=row.weights,
        record_digest=row.record,
        seal=row.seal,
        wrapper=row.wrapper,
        saved_as=row.saved_as,
        unwrapping=_unwrapping(row.unwrapping),
        world_size=row.world_size,
        model_class=row.model_class,
        init=Arguments(_object(row.init)),
        init_as=row.init_as,
        source_name=row.source_name,
        source_sha256=row.source_sha256,
        source_format=row.source_format,
        weights_key=row.weights_key,
        tensor_count=row.tensor_count,
        parameter_count=row.parameter_count,
        byte_count=row.byte_count,
        dtypes=_object(row.dtypes),
        metrics={} if row.metric is None else {r.metric: r.figure for r in rows},
        aliases=tuple(sorted(row.aliases.split(","))) if row.aliases else (),
        parent=row.parent,
        note=row.note,
        torch_version=row.torch_version,
        git_commit=row.git_commit,
        creator=row.creator,
        created_at=datetime.fromisoformat(row.created_at),
        trashed_at=datetime.fromisoformat(row.trashed_at) if row.trashed_at else None,
        origin=row.origin,
    )


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


@lru_cache(maxsize=1024)
def _unwrapping(text: str) -> Unwrapping:
    """Versions of one model are mostly saved the same way."""
    return Unwrapping.from_json(json.loads(text))


def entries(
    database: Database, name: str | None, trashed: bool, limit: int | None, metric: Condition | None
) -> tuple[Entry, ...]:
    """Return the newest entries first."""
    parameters: dict[str, Any] = {"name": name, "limit": -1 if limit is None else limit}
    if metric is not None:
        low, high = metric.bounds
        parameters |= {"key": metric.key, "low": low, "high": high}
    return read(database.rows(sql.LISTINGS[name is not None, trashed, metric is not None], parameters))


def count(database: Database, name: str | None, trashed: bool) -> int:
    """Return how many versions there are."""
    statement = sql.COUNTS[trashed] if name is None else sql.COUNTS_OF_MODEL[trashed]
    return int(database.rows(statement, {"name": name})[0].versions)


def models(database: Database) -> tuple[ModelSummary, ...]:
    """Return every name that has a live version, in alphabetical order."""
    aliases: dict[str, list[tuple[str, int]]] = {}
    for row in database.rows(sql.ALIASES):
        aliases.setdefault(row.name, []).append((row.alias, row.number))
    rows = database.rows(sql.MODELS)
    return tuple(
        ModelSummary(
            row.name, row.live, row.newest, datetime.fromisoformat(row.changed_at), tuple(aliases.get(row.name, ()))
        )
        for row in rows
    )
