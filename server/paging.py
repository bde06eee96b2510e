"""A page of versions for somebody who may not read every model."""

from __future__ import annotations

from collections.abc import Sequence

from registry.catalog.entry import Entry
from registry.catalog.query import Query, named
from registry.errors.search import UnsortableBy

from .asking import Asked

MOST_ITEMS = 1000
"""Versions that are looked through at a time."""


def found(
    asking: Asked, query: Query, asked: Query, trashed: bool, limit: int, after: str | None
) -> tuple[Sequence[Entry], str | None]:
    """Return the entries of a page that the caller may read, and where the next one begins.

    A page ends with a version that the caller may read, since its token tells what that is sorted by.

    Raises:
        UnknownModel, UnsortableBy, UnusablePageToken
    """

    def search(most: int, place: str | None) -> tuple[Sequence[Entry], str | None]:
        try:
            page = asking.catalog.search(query, trashed=trashed, limit=most, after=place, asked=asked)
        except UnsortableBy:
            raise _unsortable(asking, query, trashed) from None
        return page, page.next

    if asking.sees_all:
        return search(limit, after)
    seen: list[Entry] = []
    begin, place = after is None, after
    while True:
        page, following = search(MOST_ITEMS, place)
        at = [number for number, entry in enumerate(page, 1) if asking.sees(entry.name)]
        lacking = limit - len(seen)
        if len(at) >= lacking and (following is not None or at[lacking:]):
            page, following = search(at[lacking - 1], place)
        seen += [entry for entry in page if asking.sees(entry.name)]
        if following is None or len(seen) >= limit:
            break
        place = following
    if begin and query.order is not None and query.order.is_metric and seen and query.order.by not in seen[0].metrics:
        raise _unsortable(asking, query, trashed)
    return seen, following


def _unsortable(asking: Asked, query: Query, trashed: bool) -> UnsortableBy:
    """Return that no version that the caller may read has the metric to sort by, and which ones they have."""
    assert query.order is not None
    found = asking.catalog.search(named(query.name), trashed=trashed)
    there = {metric for each in found if asking.sees(each.name) for metric in each.metrics}
    return UnsortableBy(query.order.by, query.name, sorted(there))
