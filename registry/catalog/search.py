"""From a query to its page."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, groupby
from typing import Any, Literal

from registry.catalog import lookup, metric_statements
from registry.catalog.database import Database
from registry.catalog.listing import count, read
from registry.catalog.page import Page, Place
from registry.catalog.query import Query
from registry.catalog.selection import Shape, beginnings, few, kinds_of, parameters_of, selection
from registry.errors.search import UnsortableBy

FEW = 4000
"""A term that holds for fewer versions than this is asked first. More are found soon enough on the way through all."""

_ALL = 2**62


def search(
    database: Database,
    query: Query,
    *,
    trashed: bool = False,
    limit: int | None = None,
    after: str | None = None,
    asked: Query | None = None,
) -> Page:
    """Return the entries that a query asks for, from the beginning or after a page.

    Args:
        asked: the query by the name that the user gave, to which a page's token belongs: a model that is renamed
            between two pages is still found by it.

    Raises:
        UnknownModel: it names a model that there is not.
        UnsortableBy: it sorts by a metric that no version has.
        UnusablePageToken: ``after`` is not what the page before came with.
    """
    mark = f"{asked or query} in the {'trash' if trashed else 'registry'}"
    place = None if after is None else Place.of(after, mark, _sorted_by(query))
    wanted = _ALL if limit is None else min(limit, _ALL) + 1
    # Several statements, which have to see the same.
    with contextlib.nullcontext() if query.order is None else database.snapshot():
        groups = _found(database, query, trashed, wanted, place)
    if not groups and query.name is not None:
        now = lookup.current(database, query.name)
        if now != query.name:
            return search(database, query.of(now), trashed=trashed, limit=limit, after=after, asked=asked or query)
    if place is None and query.order is not None and query.order.is_metric and not any(map(_has_place, groups)):
        _refuse_absent(database, query.name, query.order.by, trashed)
    if limit is None or len(groups) <= limit:
        return Page(read(chain.from_iterable(groups)))
    last = groups[limit - 1][0] if limit else None
    token = None if last is None else Place(getattr(last, "place", None), last.id).token(mark)
    return Page(read(chain.from_iterable(groups[:limit])), token)


def _has_place(group: list[Any]) -> bool:
    """Whether a version has what it is sorted by."""
    return getattr(group[0], "place", None) is not None


def _refuse_absent(database: Database, name: str | None, metric: str, trashed: bool) -> None:
    """Refuse to sort by a metric that no version has, of the model or at all; where there are none, all is well."""
    there = [row.key for row in database.rows(metric_statements.keys(name, trashed), name=name)]
    if metric not in there and count(database, name, trashed):
        raise UnsortableBy(metric, name, there)


def _sorted_by(query: Query) -> type | None:
    """Return of what kind the values are that a query sorts by."""
    if query.order is None:
        return None
    if query.order.is_metric:
        return float
    return str if query.order.by == "created" else int


def _found(database: Database, query: Query, trashed: bool, wanted: int, place: Place | None) -> list[list[Any]]:
    """Return the rows of each version: of a sorted query first of those that have what it is sorted by."""
    by = query.order
    order = None if by is None else ("metric" if by.is_metric else by.by, by.descending)
    shape, parameters = Shape(kinds_of(query), trashed, order), parameters_of(query)
    shape = replace(shape, begins=_beginning(database, shape, parameters))

    def ask(part: Literal["all", "sorted", "rest"], after: Place | None, most: int) -> list[list[Any]]:
        where = {} if after is None else {"row": after.row, **({"value": after.value} if part == "sorted" else {})}
        statement = selection(replace(shape, part=part, follows=after is not None))
        rows = database.rows(statement, **parameters, **where, limit=most)
        return [list(group) for _, group in groupby(rows, key=lambda row: row.id)]

    if order is None:
        return ask("all", place, wanted)
    is_past = place is not None and place.value is None
    groups = [] if is_past else ask("sorted", place, wanted)
    if len(groups) < wanted and ("metric", "sorted") not in shape.kinds:
        groups += ask("rest", place if is_past else None, wanted - len(groups))
    return groups


def _beginning(database: Database, shape: Shape, parameters: Mapping[str, Any]) -> int | None:
    """Return the term that holds for the fewest versions, if these are few."""
    counts = {at: database.rows(few(shape, at, FEW), **parameters)[0].total for at in beginnings(shape)}
    least = min(counts, key=counts.__getitem__, default=None)
    return least if least is not None and counts[least] < FEW else None
