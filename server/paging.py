"""Pages of what is asked for, also for somebody who may not read every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from registry.catalog.entry import Entry
from registry.catalog.page import Place
from registry.catalog.query import Query, named
from registry.errors.search import UnsortableBy

from .asking import Asked
from .telling import Readable

MOST_ITEMS = 1000
"""Of a page, and as many are looked through at a time."""

T = TypeVar("T")
P = TypeVar("P", int, str)


def found(
    asking: Asked, query: Query, asked: Query, trashed: bool, limit: int, after: str | None
) -> tuple[Sequence[Entry], str | None]:
    """Return the entries of a page that the caller may read, and where the next one begins.

    A page ends with a version that the caller may read, since its token tells what that is sorted by.

    Raises:
        UnknownModel, UnsortableBy, UnusablePageToken
    """

    readable = Readable(query, asking.caller)

    def search(most: int, place: str | None) -> tuple[Sequence[Entry], str | None]:
        try:
            page = asking.catalog.search(readable.asked, trashed=trashed, limit=most, after=place, asked=asked)
        except UnsortableBy:
            raise _unsortable(asking, query, trashed) from None
        return page, page.next

    if asking.sees_all:
        return search(limit, after)
    seen: list[Entry] = []
    begin, place = after is None, after
    while True:
        page, following = search(MOST_ITEMS, place)
        at = [number for number, entry in enumerate(page, 1) if readable.keeps(entry.name, entry.parent)]
        lacking = limit - len(seen)
        if len(at) >= lacking and (following is not None or at[lacking:]):
            page, following = search(at[lacking - 1], place)
        seen += [entry for entry in page if readable.keeps(entry.name, entry.parent)]
        if following is None or len(seen) >= limit:
            break
        place = following
    if begin and query.order is not None and query.order.is_metric and seen and query.order.by not in seen[0].metrics:
        raise _unsortable(asking, query, trashed)
    return seen, following


def stretch(
    asking: Asked,
    what: str,
    ask: Callable[[P, int], Sequence[tuple[P, T]]],
    sees: Callable[[T], bool],
    limit: int,
    after: str | None,
    first: P,
) -> tuple[list[T], str | None]:
    """Return the items of a page that the caller may read, and where the next one begins, if there is one to read.

    Args:
        what: the list, to which a page's token belongs.
        ask: returns so many of the items after a place, each with its own.
        first: the place before all.

    Raises:
        UnusablePageToken
    """
    place = first if after is None else _place(after, what, first)
    step = limit + 1 if asking.sees_all else MOST_ITEMS
    seen: list[tuple[P, T]] = []
    while True:
        found = ask(place, step)
        seen += (each for each in found if sees(each[1]))
        if len(seen) > limit:
            return [item for _, item in seen[:limit]], _token(seen[limit - 1][0], what)
        if len(found) < step:
            return [item for _, item in seen], None
        place = found[-1][0]


def older_than(token: str | None, what: str) -> int | None:
    """Return the event before which a page begins.

    Raises:
        UnusablePageToken
    """
    return None if token is None else _place(token, what, 0)


def token_of(number: int | None, what: str) -> str | None:
    """Return the token for what follows an event, if something does."""
    return None if number is None else _token(number, what)


def _token(place: int | str, what: str) -> str:
    return (Place(None, place) if isinstance(place, int) else Place(place, 0)).token(what)


def _place(token: str, what: str, first: Any) -> Any:
    found = Place.of(token, what, str if isinstance(first, str) else None)
    return found.row if isinstance(first, int) else found.value or first


def _unsortable(asking: Asked, query: Query, trashed: bool) -> UnsortableBy:
    """Return that no version that the caller may read has the metric to sort by, and which ones they have."""
    assert query.order is not None
    found = asking.catalog.search(named(query.name), trashed=trashed)
    there = {metric for each in found if asking.sees(each.name) for metric in each.metrics}
    return UnsortableBy(query.order.by, query.name, sorted(there))
