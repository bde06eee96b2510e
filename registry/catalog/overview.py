"""Many versions at a glance: what a search could be narrowed to, and how metrics went along a model's versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from registry.catalog import overview_statements as statements
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.listing import parent_of
from registry.catalog.query import Query, Term
from registry.catalog.selection import Shape, kinds_of, parameters_of

MOST = 2500
"""More versions are not counted, so that it takes no longer where there are very many."""

MOST_LOOKED_AT = 25_000
"""Older versions are not looked at: there, a search that finds few would look through all of them."""

MOST_VALUES = 12
"""More values of one facet are not shown."""


class Value(NamedTuple):
    """One value of a facet."""

    term: Term
    """What a query says for it."""
    label: str
    total: int
    """Versions that have it."""


@dataclass(frozen=True)
class Facet:
    """A field, and its most frequent values among the versions that a query asks for."""

    field: str
    """As a query names it."""
    values: tuple[Value, ...]


class Range(NamedTuple):
    """A metric among the versions that a query asks for."""

    key: str
    total: int
    """Versions that have it."""
    low: float
    high: float


@dataclass(frozen=True)
class Narrowing:
    """What a search could be narrowed to."""

    versions: int
    """How many were counted: all that it finds, or the newest of them."""
    is_partial: bool
    """Whether there may be more."""
    facets: tuple[Facet, ...]
    ranges: tuple[Range, ...]
    """Of metrics."""


class Point(NamedTuple):
    """A metric of a version."""

    number: int
    value: float


class ModelSize(NamedTuple):
    """How large the versions of a model are together, each counted whole."""

    name: str
    versions: int
    nbytes: int


class Overview:
    """What a catalog tells of many versions at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def narrowing(
        self, query: Query, counts: Callable[[str, str | None], bool] = lambda name, parent: True
    ) -> Narrowing:
        """Return what the newest versions of a query have, each as a further term with their number.

        Args:
            counts: whether a version does, by the name of its model and the reference of its parent.
        """
        given = parameters_of(query)
        given.pop("sorted_by", None)
        since = (self._database.rows(statements.LAST)[0].total or 0) - MOST_LOOKED_AT
        found = self._database.rows(statements.newest(Shape(kinds_of(query))), **given, most=MOST, since=since)
        ids = [row.id for row in found if counts(row.name, parent_of(row._asdict()))]
        these = {"ids": json.dumps(ids), "limit": MOST_VALUES}
        words = ((f"{row.key}={row.value}", row.total) for row in self._database.rows(statements.COUNTED_TAGS, **these))
        facets = [Facet("tag", tuple(Value(Term("tag", word), word, total) for word, total in words))]
        for field, statement in statements.COUNTED.items():
            rows = self._database.rows(statement, **these)
            facets.append(Facet(field, tuple(_value(field, row.value, row.total) for row in rows if row.value)))
        ranges = (Range(*row) for row in self._database.rows(statements.RANGES, **these))
        is_partial = len(found) == MOST or since > 0
        return Narrowing(len(ids), is_partial, tuple(facet for facet in facets if facet.values), tuple(ranges))

    def sizes(self) -> tuple[ModelSize, ...]:
        """Return how large each model's live versions are, the largest first."""
        return tuple(ModelSize(row.name, row.versions, row.nbytes) for row in self._database.rows(statements.SIZES))

    def stored(self) -> int:
        """Return the bytes of all files of tensors."""
        return int(self._database.rows(statements.STORED)[0].total or 0)

    def from_older(self, entry: Entry) -> frozenset[str]:
        """Return the digests of those of a version's files of tensors that were there before it was pushed."""
        found = self._database.rows(statements.FROM_OLDER, uid=entry.uid, number=entry.version)
        return frozenset(row.digest for row in found)

    def series(self, name: str, key: str, limit: int) -> tuple[Point, ...]:
        """Return a metric along the newest live versions of a model that have it, the oldest of them first."""
        rows = self._database.rows(statements.SERIES, name=name, key=key, limit=limit)
        return tuple(map(Point._make, reversed(rows)))


def _value(field: str, value: str, total: int) -> Value:
    label = value
    if field == "by":
        value = value.partition("@")[0]
    return Value(Term(field, value), label, total)
