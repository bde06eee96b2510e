"""What happened, what is stored, what is in the trash."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from registry.catalog.moments import moment
from registry.catalog.trail import VERBS, Only
from registry.upkeep.gc import GRACE, gc

from ..access import Role, caller_of
from ..service import service_of
from . import tables
from .models import PAGE
from .rendering import page

_EVENTS = 100
"""Of one page."""


def activity(request: Request) -> Response:
    """Show the trail, the newest events first; with ``check`` whether its chain is whole."""
    catalog, caller, asked = service_of(request).home.database, caller_of(request), request.query_params
    caller.require(Role.READ)
    only = Only(
        verb=asked.get("verb") or None,
        actor=asked.get("by") or None,
        after=moment(asked["after"]) if asked.get("after") else None,
        before=moment(asked["before"]) if asked.get("before") else None,
    )
    name = asked.get("name") or None
    if name is not None:
        caller.require(Role.READ, name)
    if form := tables.wanted(request):
        every = catalog.own_events(name, tables.MOST, only)
        return tables.of_events(form, [event for event in every if caller.may(Role.READ, event.name)])
    older = asked.get("older", "")
    older_than = int(older) if older.isascii() and older.isdigit() and len(older) < 18 else None
    books = catalog.check_books() if asked.get("check") else None
    events = catalog.own_events(name, _EVENTS + 1, only, older_than)
    narrowed = {key: asked[key] for key in ("verb", "by", "name", "after", "before") if asked.get(key)}
    return page(
        request,
        "activity.html",
        "Activity",
        events=[event for event in events[:_EVENTS] if caller.may(Role.READ, event.name)],
        verbs=VERBS,
        flaws=None if books is None else (*books.trail, *books.rows),
        narrowed=narrowed,
        next=events[_EVENTS - 1].number if len(events) > _EVENTS else None,
        first=older_than is None,
    )


def storage(request: Request) -> Response:
    """Show what takes how much room; with ``plan`` what a collection would free."""
    home, caller = service_of(request).home, caller_of(request)
    caller.require(Role.READ)
    models = [each for each in home.database.overview.sizes() if caller.may(Role.READ, each.name)]
    if form := tables.wanted(request):
        return tables.table(form, "storage", ("model", "versions", "bytes"), models)
    plan = gc(home, grace=GRACE, dry_run=True) if request.query_params.get("plan") else None
    return page(
        request,
        "storage.html",
        "Storage",
        models=models,
        stored=home.database.overview.stored(),
        told=sum(each.nbytes for each in models),
        plan=plan,
        grace=GRACE,
    )


def trash(request: Request) -> Response:
    """Show what was removed and can be taken back."""
    catalog, caller = service_of(request).home.database, caller_of(request)
    caller.require(Role.READ)
    entries = catalog.entries(trashed=True, limit=PAGE * 4)
    return page(
        request,
        "trash.html",
        "Trash",
        entries=[each for each in entries if caller.may(Role.READ, each.name)],
        grace=GRACE,
    )
