"""The models, and the versions that a search finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from registry.catalog.entry import Entry
from registry.catalog.grammar import parse
from registry.catalog.listing import ModelSummary
from registry.catalog.query import Order, Query, Term
from registry.errors.root import RegistryError

from ..answers import address_of, status_of
from ..asking import Asked, asked
from ..paging import found
from ..telling import Readable, told
from . import tables
from .rendering import page

PAGE = 50
"""Rows of one page."""

_METRICS = 3
"""Metrics that get a column."""

_POINTS = 60
"""Versions that a sparkline goes back."""


def models(request: Request) -> Response:
    """Show every model with its newest version, and how its metrics went."""
    asking = asked(request)
    with asking.catalog.snapshot():
        return _models(request, asking)


def _models(request: Request, asking: Asked) -> Response:
    catalog = asking.catalog
    sort = request.query_params.get("sort", "name")
    after = request.query_params.get("after", "")
    readable = [each for each in catalog.models() if asking.sees(each.name)]
    readable.sort(key=_sort_key(sort.lstrip("-")), reverse=sort.startswith("-"))
    if form := tables.wanted(request):
        rows = ((each.name, each.live, each.newest, each.changed_at.isoformat(), each.aliases) for each in readable)
        return tables.table(form, "models", ("model", "versions", "newest", "pushed", "aliases"), rows)
    names = [each.name for each in readable]
    begin = names.index(after) + 1 if after in names else 0
    shown = readable[begin : begin + PAGE]
    newest = {each.name: catalog.resolve(f"{each.name}:v{each.newest}") for each in shown}
    keys = [key for key, _ in Counter(key for entry in newest.values() for key in entry.metrics).most_common(_METRICS)]
    series = {
        (each.name, key): [point.value for point in catalog.overview.series(each.name, key, _POINTS)]
        for each in shown
        for key in keys
    }
    return page(
        request,
        "models.html",
        "Models",
        models=shown,
        total=len(readable),
        newest=newest,
        keys=keys,
        series=series,
        sort=sort,
        next=shown[-1].name if begin + PAGE < len(readable) else None,
        first=begin == 0,
    )


def _sort_key(by: str) -> Callable[[ModelSummary], tuple[Any, ...]]:
    first: Callable[[ModelSummary], tuple[Any, ...]] = {
        "versions": lambda model: (model.live,),
        "pushed": lambda model: (model.changed_at,),
    }.get(by, lambda model: ())
    return lambda model: (*first(model), model.name)


def versions(request: Request) -> Response:
    """Show the versions that a query finds, what they could be narrowed to, and the next page."""
    asking = asked(request)
    text = request.query_params.get("q", "").strip()
    try:
        query = parse(text)
        if form := tables.wanted(request):
            return tables.of_entries(form, found(asking, query, query, False, tables.MOST, None)[0])
        entries, following = found(asking, query, query, False, PAGE, request.query_params.get("after") or None)
    except RegistryError as error:
        if (status := status_of(error)) >= 500:
            raise
        trouble = str(told(error, asking.caller, address_of(request.scope)))
        return page(request, "versions.html", "Versions", status, entries=(), trouble=trouble)
    readable = Readable(replace(query, order=None), asking.caller)
    narrowing = asking.catalog.overview.narrowing(readable.asked, readable.keeps)
    return page(
        request,
        "versions.html",
        "Versions",
        entries=entries,
        keys=_columns(query, entries),
        narrowing=narrowing,
        next=following,
        first="after" not in request.query_params,
        trouble=None,
        query_=query,
        narrowed=lambda term: _narrowed(query, term),
        sorted_by=lambda by, is_metric=True: _sorted(query, by, is_metric),
    )


def _columns(query: Query, entries: Sequence[Entry]) -> list[str]:
    """Return the metrics that get a column: those that the query speaks of, then the most frequent."""
    frequent = Counter(key for entry in entries for key in entry.metrics).most_common(_METRICS)
    return list(dict.fromkeys([*query.metrics, *(key for key, _ in frequent)]))[: max(_METRICS, len(query.metrics))]


def _narrowed(query: Query, term: Term) -> str:
    """Return the query with one more term, or, where it has it, without it."""
    terms = tuple(each for each in query.terms if each != term)
    if len(terms) == len(query.terms):
        terms = (*terms, term)
    return str(replace(query, terms=terms))


def _sorted(query: Query, by: str, is_metric: bool) -> tuple[str, str | None]:
    """Return the query sorted by a column, the other way round where it is sorted by it; and how it is sorted now."""
    now = query.order
    if now is not None and (now.by, now.is_metric) == (by, is_metric):
        turned = Order(by, is_metric, not now.descending)
        return str(replace(query, order=turned)), "descending" if now.descending else "ascending"
    return str(replace(query, order=Order(by, is_metric, descending=True))), None
