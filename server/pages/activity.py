"""What happened, what is stored, what is in the trash."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from registry.catalog.moments import moment
from registry.catalog.query import Query
from registry.catalog.trail import VERBS, Event, Only
from registry.upkeep.gc import GRACE, gc

from ..asking import asked
from ..paging import found
from ..service import service_of
from . import tables
from .models import PAGE
from .rendering import page

_EVENTS = 100
"""Of one page."""


def activity(request: Request) -> Response:
    """Show the trail, the newest events first; with ``check`` whether its chain is whole."""
    asking, given = asked(request), request.query_params
    catalog = asking.catalog
    only = Only(
        verb=given.get("verb") or None,
        actor=given.get("by") or None,
        after=moment(given["after"]) if given.get("after") else None,
        before=moment(given["before"]) if given.get("before") else None,
    )
    name = asking.current(given["name"]) if given.get("name") else None

    def seen(events: Iterable[Event]) -> list[Event]:
        return [event for event in events if name is not None or asking.sees_now(event.name)]

    if form := tables.wanted(request):
        return tables.of_events(form, seen(catalog.own_events(name, tables.MOST, only)))
    older = given.get("older", "")
    older_than = int(older) if older.isascii() and older.isdigit() and len(older) < 18 else None
    books = catalog.check_books() if given.get("check") and asking.sees_all else None
    events = catalog.own_events(name, _EVENTS + 1, only, older_than)
    narrowed = {key: given[key] for key in ("verb", "by", "name", "after", "before") if given.get(key)}
    return page(
        request,
        "activity.html",
        "Activity",
        events=seen(events[:_EVENTS]),
        verbs=VERBS,
        flaws=None if books is None else (*books.trail, *books.rows),
        narrowed=narrowed,
        next=events[_EVENTS - 1].number if len(events) > _EVENTS else None,
        first=older_than is None,
    )


def storage(request: Request) -> Response:
    """Show what takes how much room; with ``plan`` what a collection would free."""
    home, asking = service_of(request).home, asked(request)
    models = [each for each in asking.catalog.overview.sizes() if asking.sees(each.name)]
    if form := tables.wanted(request):
        return tables.table(form, "storage", ("model", "versions", "bytes"), models)
    plan = gc(home, grace=GRACE, dry_run=True) if request.query_params.get("plan") and asking.sees_all else None
    return page(
        request,
        "storage.html",
        "Storage",
        models=models,
        stored=asking.catalog.overview.stored() if asking.sees_all else None,
        told=sum(each.nbytes for each in models),
        plan=plan,
        grace=GRACE,
    )


def trash(request: Request) -> Response:
    """Show what was removed and can be taken back."""
    asking = asked(request)
    form = tables.wanted(request)
    entries, _ = found(asking, Query(), Query(), True, tables.MOST if form else PAGE * 4, None)
    if form:
        return tables.of_entries(form, entries)
    return page(
        request,
        "trash.html",
        "Trash",
        entries=entries,
        grace=GRACE,
    )
