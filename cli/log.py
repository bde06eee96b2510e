"""``registry log``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from . import completion, options
from .rendering import figure, local, print_json, say, table

_FOR_THE_AUDIT = ("record", "uid", "created_at", "key", "proof")


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

    Every change is there: push, copy, tag, annotate, alias, unalias, rename, rm, restore, gc and repair.
    `registry audit` checks that none was altered or taken out. Of a copied version, what happened to it elsewhere is
    there, too.

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
    came = any(event.origin is not None for event in events)
    rows = [
        (
            local(event.at),
            event.actor,
            event.verb,
            event.reference or event.name or "",
            (event.digest or "")[:12],
            *([event.origin or ""] if came else []),
            _worded(event.details),
        )
        for event in events
    ]
    head = ("when", "who", "verb", "version", "digest", *(["in"] if came else []), "details")
    table((head, *rows), spare=("digest",))
    if len(events) == limit:
        say(f"the newest {limit}; --limit shows more")


def _worded(details: object) -> str:
    """Word an event's details; what tells which version it is, is for the audit to read."""
    if not isinstance(details, Mapping):
        return ""
    return " ".join(f"{key}={_value(value)}" for key, value in details.items() if value and key not in _FOR_THE_AUDIT)


def _value(value: object) -> str:
    return (
        ",".join(f"{key}={figure(each)}" for key, each in value.items()) if isinstance(value, Mapping) else str(value)
    )
