"""``registry log``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import local, print_json, say, table


def log(
    ref: Annotated[str | None, typer.Argument(metavar="REF", help="Only this model.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest first.")] = 50,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show who did what, when: every push, alias, rm, restore, gc and repair.

    Example: registry log pointnet -n 10
    """
    events = options.registry_at(home).log(ref, limit)
    if as_json:
        print_json(events)
        return
    if not events:
        say("nothing has happened yet")
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
    table(("when", "who", "verb", "version", "digest", "details"), rows)


def _worded(details: object) -> str:
    if not isinstance(details, dict):
        return ""
    return " ".join(f"{key}={value}" for key, value in details.items() if value and key != "record")
