"""``registry log``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from . import options
from .rendering import figures, local, print_json, say, table


def log(
    ref: Annotated[str | None, typer.Argument(metavar="REF", help="Only this model.")] = None,
    limit: options.Limit = 50,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show who did what, and when.

    Every push, alias, rm, restore, gc and repair is there; `registry audit` checks that none was altered or taken out.

    Example: registry log pointnet -n 10
    """
    events = options.registry_at(home).log(ref, limit)
    if as_json:
        print_json(events)
        return
    if not events:
        say("nothing has happened yet" if ref is None else f"nothing has happened to {ref}")
        return
    rows = [
        (
            local(event.at),
            event.actor,
            event.verb,
            event.reference or "",
            (event.digest or "")[:12],
            _worded(event.details),
        )
        for event in events
    ]
    table((("when", "who", "verb", "version", "digest", "details"), *rows))
    if len(events) == limit:
        say(f"the newest {limit}; --limit shows more")


def _worded(details: object) -> str:
    """Word an event's details; a record's digest is for the audit to read."""
    if not isinstance(details, Mapping):
        return ""
    return " ".join(f"{key}={_value(value)}" for key, value in details.items() if value and key != "record")


def _value(value: object) -> str:
    return figures(value).replace(" ", ",") if isinstance(value, Mapping) else str(value)
