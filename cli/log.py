"""``registry log``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from . import options
from .rendering import local, print_json, say, table

_FOR_THE_AUDIT = ("record", "uid", "created_at")


def log(
    ref: Annotated[str | None, typer.Argument(metavar="REF", help="Only this model.")] = None,
    limit: options.Limit = 50,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show who did what, and when.

    Every push, copy, alias, rm, restore, gc and repair is there; `registry audit` checks that none was altered or taken
    out. Of a copied version, what happened to it in other registries is there, too.

    Example: registry log pointnet -n 10
    """
    events = options.registry_at(home).log(ref, limit)
    if as_json:
        print_json(events)
        return
    if not events:
        say("nothing has happened yet" if ref is None else f"nothing has happened to {ref}")
        return
    came = any(event.origin is not None for event in events)
    rows = [
        (
            local(event.at),
            event.actor,
            event.verb,
            event.reference or "",
            (event.digest or "")[:12],
            *([event.origin or ""] if came else []),
            _worded(event.details),
        )
        for event in events
    ]
    table((("when", "who", "verb", "version", "digest", *(["in"] if came else []), "details"), *rows))
    if len(events) == limit:
        say(f"the newest {limit}; --limit shows more")


def _worded(details: object) -> str:
    """Word an event's details; what tells which version it is, is for the audit to read."""
    if not isinstance(details, Mapping):
        return ""
    return " ".join(f"{key}={_value(value)}" for key, value in details.items() if value and key not in _FOR_THE_AUDIT)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(
            f"{key}={each:g}" if isinstance(each, float) else f"{key}={each}" for key, each in value.items()
        )
    return str(value)
