"""``registry log``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from . import completion, options
from .rendering import figures, local, print_json, say, table


def log(
    ref: Annotated[
        str | None, typer.Argument(metavar="REF", help="Only this model.", autocompletion=completion.models)
    ] = None,
    verb: Annotated[
        str | None, typer.Option("--verb", metavar="VERB", help="Only events of this kind, such as push or alias.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="USER", help="Only events of this user: USER, or USER@HOST.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="DAY", help="Only from this day on, such as 2026-11-01, in UTC.")
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="DAY", help="Only until this day begins, in UTC.")
    ] = None,
    limit: options.Limit = 50,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show who did what, and when.

    Every change is there: push, tag, annotate, alias, unalias, rename, rm, restore, gc and repair. `registry audit`
    checks that none was altered or taken out.

    Example: registry log pointnet --verb alias --by $USER --after 2026-11-01
    """
    events = options.registry_at(home).log(ref, limit, verb=verb, by=by, after=after, before=before)
    if as_json:
        print_json(events)
        return
    if not events:
        is_filtered = any(each is not None for each in (verb, by, after, before))
        say("no event matches" if is_filtered else "nothing has happened yet")
        return
    rows = [
        (
            local(event.at),
            event.actor,
            event.verb,
            event.reference or event.name or "",
            (event.digest or "")[:12],
            _worded(event.details),
        )
        for event in events
    ]
    table((("when", "who", "verb", "version", "digest", "details"), *rows), spare=("digest",))
    if len(events) == limit:
        say(f"the newest {limit}; --limit shows more")


def _worded(details: object) -> str:
    """Word an event's details; a record's digest and a model's uid are for the audit to read."""
    if not isinstance(details, Mapping):
        return ""
    return " ".join(
        f"{key}={_value(value)}" for key, value in details.items() if value and key not in ("record", "uid")
    )


def _value(value: object) -> str:
    return figures(value).replace(" ", ",") if isinstance(value, Mapping) else str(value)
