"""Many versions at a glance: what a search could be narrowed to, and how metrics went along a model's versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from registry.catalog import overview_statements as statements
from registry.catalog.database import Database
from registry.catalog.query import Query, Term
from registry.catalog.selection import Shape, kinds_of, parameters_of

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

    def facets(self, query: Query) -> tuple[Facet, ...]:
        """Return what the versions of a query have, as further terms, each with the number of versions."""
        found = tuple(self._facets(query))
        return tuple(facet for facet in found if facet.values)

    def _facets(self, query: Query) -> Iterator[Facet]:
        shape, parameters = Shape(kinds_of(query)), {**parameters_of(query), "limit": MOST_VALUES}
        parameters.pop("sorted_by", None)
        tags = self._database.rows(statements.counted_tags(shape), **parameters)
        yield Facet(
            "tag",
            tuple(Value(Term("tag", f"{row.key}={row.value}"), f"{row.key}={row.value}", row.total) for row in tags),
        )
        for field in statements.FACETS:
            rows = self._database.rows(statements.counted(field, shape), **parameters)
            yield Facet(field, tuple(_value(field, row.value, row.total) for row in rows if row.value))

    def ranges(self, query: Query) -> tuple[Range, ...]:
        """Return the metrics that the versions of a query have, the most frequent first."""
        parameters = {**parameters_of(query), "limit": MOST_VALUES}
        parameters.pop("sorted_by", None)
        rows = self._database.rows(statements.ranges(Shape(kinds_of(query))), **parameters)
        return tuple(Range(row.key, row.total, row.low, row.high) for row in rows)

    def metric_keys(self) -> tuple[str, ...]:
        """Return the names of all metrics, in alphabetical order."""
        keys: list[str] = []
        after = ""
        while (found := self._database.rows(statements.NEXT_KEY, after=after)[0].key) is not None:
            keys.append(found)
            after = found
        return tuple(keys)

    def sizes(self) -> tuple[ModelSize, ...]:
        """Return how large each model's live versions are, the largest first."""
        return tuple(ModelSize(row.name, row.versions, row.nbytes) for row in self._database.rows(statements.SIZES))

    def stored(self) -> int:
        """Return the bytes of all files of tensors."""
        return int(self._database.rows(statements.STORED)[0].total or 0)

    def series(self, name: str, key: str, limit: int) -> tuple[Point, ...]:
        """Return a metric along the newest live versions of a model that have it, the oldest of them first."""
        rows = self._database.rows(statements.SERIES, name=name, key=key, limit=limit)
        return tuple(Point(row.number, row.value) for row in reversed(rows))


def _value(field: str, value: str, total: int) -> Value:
    label = value
    if field == "by":
        value = value.partition("@")[0]
    return Value(Term(field, value), label, total)
