"""Entries from rows: every statement gives whole entries, and none of them touches a manifest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from registry.catalog import statements
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.facts import facts_in, illegible
from registry.catalog.rows import Alias, LiveModel, MeasuredVersion, Version
from registry.notebook import called, few, html_table

_NEVER = "1970-01-01T00:00:00+00:00"


@dataclass(frozen=True, repr=False)
class ModelSummary:
    """A name and how much is behind it."""

    name: str
    uid: str
    """What the model is in every home, whatever it is called there."""
    live: int
    """Versions outside the trash."""
    newest: int
    """Number of the newest of them; 0 where there is none."""
    changed_at: datetime
    """When the newest was pushed, in UTC."""
    aliases: Mapping[str, int]
    """Each with the number of the version that it points to."""

    def __repr__(self) -> str:
        return called(self, self.name, f"of {self.live}:", few([f"v{self.newest}", *self.aliases]))


class Models(tuple[ModelSummary, ...]):
    """Models, as a prompt and a notebook show them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return called(self, f"of {len(self)}:" if self else "of none", few([model.name for model in self]))

    def _repr_html_(self) -> str:
        rows = [
            (
                model.name,
                model.live,
                f"v{model.newest}",
                f"{model.changed_at:%Y-%m-%d %H:%M}",
                ", ".join(f"{alias} (v{number})" for alias, number in model.aliases.items()),
            )
            for model in self
        ]
        header = ("model", "versions", "newest", "pushed (UTC)", "aliases")
        return html_table("1 model" if len(rows) == 1 else f"{len(rows):,} models", header, rows)


def read(rows: Iterable[MeasuredVersion]) -> tuple[Entry, ...]:
    """Make the entries of the rows that a statement for whole entries gave."""
    return tuple(_entry(list(group)) for _, group in groupby(rows, key=lambda row: row.id))


def _entry(rows: list[MeasuredVersion]) -> Entry:
    """Return an entry; of a row that somebody edited so that it cannot be read, with what is legible of it.

    Such a one has no record digest, so that an audit names it and a load refuses it, and the others can be listed.
    """
    try:
        if any(bytes in map(type, row) for row in rows):
            raise TypeError("there are bytes where a text belongs")
        return _read(_cells(rows[0]), {row.metric: row.figure for row in rows})
    except (ValueError, TypeError, KeyError, AttributeError):
        times = {"created_at": _NEVER, "trashed_at": _NEVER if rows[0].trashed_at else None}
        legible = [_legible(row) for row in rows]
        metrics = {cells["metric"]: cells["figure"] for cells in legible}
        return _read({**legible[0], **illegible(), **times, "record": ""}, metrics)


def _cells(row: Version) -> dict[str, Any]:
    return dict(zip(row._fields, row, strict=True))


def _legible(row: Version) -> dict[str, Any]:
    cells = {column: str(cell) if isinstance(cell, bytes) else cell for column, cell in _cells(row).items()}
    return cells | {"tags": "\n".join(each for each in (cells["tags"] or "").splitlines() if "=" in each)}


def _read(row: Mapping[str, Any], metrics: Mapping[Any, Any]) -> Entry:
    return Entry(
        name=row["name"],
        version=row["number"],
        digest=row["weights"],
        record_digest=row["record"],
        seal=row["seal"],
        uid=row["uid"],
        sealed_as=row["sealed_as"],
        former_names=tuple(sorted(row["former_names"].split(","))) if row["former_names"] else (),
        metrics=metrics if row["metric"] is not None else {},
        tags=dict(each.split("=", 1) for each in sorted((row["tags"] or "").splitlines())),
        attachments=tuple(sorted((row["attachments"] or "").split(","))) if row["attachments"] else (),
        aliases=tuple(sorted(row["aliases"].split(","))) if row["aliases"] else (),
        created_at=datetime.fromisoformat(row["created_at"]),
        trashed_at=datetime.fromisoformat(row["trashed_at"]) if row["trashed_at"] else None,
        **{**facts_in(row), "parent": parent_of(row)},
    )


def parent_of(row: Mapping[str, Any]) -> str | None:
    """Return what the parent is called now, or, where it is not here, what it was called then."""
    name, number = row["parent_name"], row["parent_number"]
    return row["parent"] if name is None else f"{name}:v{number}"


def count(database: Database, name: str | None, trashed: bool) -> int:
    """Return how many versions there are."""
    return int(database.rows(statements.count(name, trashed), name=name)[0].total)


def models(database: Database, name: str | None) -> tuple[ModelSummary, ...]:
    """Return every name that has a live version, or those that fit a pattern, in alphabetical order."""
    fits = fitting(name or "*")
    summaries = summarized(database.rows(statements.MODELS), database.rows(statements.aliases()))
    return tuple(each for each in summaries if fits(each.name))


def fitting(pattern: str) -> Callable[[str], bool]:
    """Return what says whether a name fits a pattern, in which ``*`` is any characters."""
    fits = re.compile(".*".join(map(re.escape, pattern.split("*")))).fullmatch
    return lambda name: fits(name) is not None


def summarized(models: Iterable[LiveModel], aliases: Iterable[Alias]) -> Iterator[ModelSummary]:
    """Yield models with where their aliases point."""
    pointing: dict[str, dict[str, int]] = {}
    for each in aliases:
        pointing.setdefault(each.name, {})[each.alias] = each.number
    for row in models:
        changed_at = datetime.fromisoformat(row.changed_at)
        yield ModelSummary(row.name, row.uid, row.live, row.newest, changed_at, pointing.get(row.name, {}))
