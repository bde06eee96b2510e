"""Entries from rows: every statement gives whole entries, and none of them touches a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from registry.canonical.unwrap import Unwrapping
from registry.catalog.database import Database
from registry.catalog.draft import Condition
from registry.catalog.entry import Entry
from registry.catalog.schema import Alias, Metric, Model, Version, table

MODELS, VERSIONS, METRICS, ALIASES = table(Model), table(Version), table(Metric), table(Alias)

IS_LIVE = VERSIONS.c.trashed_at.is_(None)
IN_TRASH = VERSIONS.c.trashed_at.is_not(None) & VERSIONS.c.purged_at.is_(None)


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


def whole(chosen: Select[Any]) -> Select[Any]:
    """Return the statement for the entries whose version ids another one selects, newest first.

    One row a metric, so that one statement is enough and the floats come as SQLite has them.
    """
    ids = chosen.subquery("chosen")
    aliases = select(func.group_concat(ALIASES.c.name)).where(ALIASES.c.version_id == VERSIONS.c.id)
    return (
        select(
            MODELS.c.name,
            *VERSIONS.c,
            aliases.scalar_subquery().label("aliases"),
            METRICS.c.key.label("metric"),
            METRICS.c.value.label("figure"),
        )
        .select_from(ids)
        .join(VERSIONS, VERSIONS.c.id == ids.c.id)
        .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
        .outerjoin(METRICS, METRICS.c.version_id == VERSIONS.c.id)
        .order_by(VERSIONS.c.id.desc(), METRICS.c.key)
    )


def read(rows: Iterable[Any]) -> tuple[Entry, ...]:
    """Make the entries of the rows that a statement of ``whole`` gave."""
    return tuple(_entry(list(group)) for _, group in groupby(rows, key=lambda row: row.id))


def _entry(rows: list[Any]) -> Entry:
    row = rows[0]
    return Entry(
        name=row.name,
        version=row.number,
        digest=row.weights,
        record_digest=row.record,
        wrapper=row.wrapper,
        saved_as=row.saved_as,
        unwrapping=_unwrapping(row.unwrapping),
        world_size=row.world_size,
        model_class=row.model_class,
        init=json.loads(row.init),
        init_as=row.init_as,
        source_name=row.source_name,
        source_sha256=row.source_sha256,
        source_format=row.source_format,
        weights_key=row.weights_key,
        tensor_count=row.tensor_count,
        parameter_count=row.parameter_count,
        byte_count=row.byte_count,
        dtypes=json.loads(row.dtypes),
        metrics={} if row.metric is None else {r.metric: r.figure for r in rows},
        aliases=tuple(sorted(row.aliases.split(","))) if row.aliases else (),
        parent=row.parent,
        note=row.note,
        torch_version=row.torch_version,
        git_commit=row.git_commit,
        creator=row.creator,
        created_at=datetime.fromisoformat(row.created_at),
        trashed_at=datetime.fromisoformat(row.trashed_at) if row.trashed_at else None,
    )


@lru_cache(maxsize=1024)
def _unwrapping(text: str) -> Unwrapping:
    """Versions of one model are mostly saved the same way."""
    return Unwrapping.from_json(json.loads(text))


def entries(
    database: Database, name: str | None, trashed: bool, limit: int | None, metric: Condition | None
) -> tuple[Entry, ...]:
    """Return the newest entries first."""
    parameters: dict[str, Any] = {"limit": -1 if limit is None else limit}
    if name is not None:
        parameters["name"] = name
    if metric is not None:
        parameters |= {"key": metric.key, "value": metric.value}
    statement = _listing(name is not None, trashed, metric.operator if metric else None)
    return read(database.rows(statement, parameters))


@lru_cache(maxsize=32)
def _listing(of_one_name: bool, trashed: bool, operator: str | None) -> Select[Any]:
    chosen = select(VERSIONS.c.id).where(IN_TRASH if trashed else IS_LIVE)
    if of_one_name:
        model = select(MODELS.c.id).where(MODELS.c.name == bindparam("name")).scalar_subquery()
        chosen = chosen.where(VERSIONS.c.model_id == model).order_by(VERSIONS.c.number.desc())
    else:
        chosen = chosen.order_by(VERSIONS.c.id.desc())
    if operator is not None:
        chosen = chosen.join(METRICS, METRICS.c.version_id == VERSIONS.c.id).where(
            METRICS.c.key == bindparam("key"), METRICS.c.value.op(operator, is_comparison=True)(bindparam("value"))
        )
    return whole(chosen.limit(bindparam("limit")))


def count(database: Database, name: str | None, trashed: bool) -> int:
    """Return how many versions there are."""
    statement = select(func.count()).select_from(VERSIONS).where(IN_TRASH if trashed else IS_LIVE)
    if name is not None:
        statement = statement.join(MODELS).where(MODELS.c.name == name)
    return int(database.rows(statement)[0][0])


def models(database: Database) -> tuple[ModelSummary, ...]:
    """Return every name that has a live version, in alphabetical order."""
    aliases: dict[str, list[tuple[str, int]]] = {}
    for row in database.rows(
        select(MODELS.c.name, ALIASES.c.name.label("alias"), VERSIONS.c.number)
        .join(ALIASES, ALIASES.c.model_id == MODELS.c.id)
        .join(VERSIONS, VERSIONS.c.id == ALIASES.c.version_id)
        .order_by(ALIASES.c.name)
    ):
        aliases.setdefault(row.name, []).append((row.alias, row.number))
    rows = database.rows(
        select(
            MODELS.c.name,
            func.count().label("live"),
            func.max(VERSIONS.c.number).label("newest"),
            func.max(VERSIONS.c.created_at).label("changed_at"),
        )
        .join(VERSIONS, VERSIONS.c.model_id == MODELS.c.id)
        .where(IS_LIVE)
        .group_by(MODELS.c.id)
        .order_by(MODELS.c.name)
    )
    return tuple(
        ModelSummary(
            row.name, row.live, row.newest, datetime.fromisoformat(row.changed_at), tuple(aliases.get(row.name, ()))
        )
        for row in rows
    )
