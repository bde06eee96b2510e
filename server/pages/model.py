"""One model: its versions, how a metric went, its card."""

from __future__ import annotations

from collections import Counter

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from registry.catalog.catalog import Catalog
from registry.catalog.moves import Move
from registry.catalog.query import named

from ..asking import asked
from .models import PAGE
from .rendering import page, version_url

_MOVES = 10
"""Moves of an alias that are shown."""

_POINTS = 500
"""Versions that a chart goes back."""


def model(request: Request, name: str) -> Response:
    """Show a model; by a name that it had before, lead to the one that it has now."""
    asking = asked(request)
    catalog, now = asking.catalog, asking.current(name)
    if now != name:
        return RedirectResponse(version_url(now), 307)
    found = catalog.search(named(name), limit=PAGE, after=request.query_params.get("after") or None)
    keys = [key for key, _ in Counter(key for entry in found for key in entry.metrics).most_common()]
    chosen = request.query_params.get("metric", keys[0] if keys else "")
    points = catalog.overview.series(name, chosen, _POINTS) if chosen else ()
    return page(
        request,
        "model.html",
        "Models",
        name=name,
        former=found[0].former_names if found else (),
        entries=found,
        total=catalog.count(name),
        aliases=_aliases(catalog, name),
        keys=keys,
        metric=chosen,
        points=[(point.number, point.value, version_url(f"{name}:v{point.number}")) for point in points],
        card=catalog.card(name),
        next=found.next,
        first="after" not in request.query_params,
        q=name,
    )


def _aliases(catalog: Catalog, name: str) -> list[tuple[str, int, tuple[Move, ...]]]:
    """Return each alias, the number of its version, and where it pointed before, the newest move first."""
    summary = catalog.models(name)
    aliases = summary[0].aliases if summary else {}
    return [(alias, number, catalog.moves(name, alias, _MOVES)) for alias, number in aliases.items()]
