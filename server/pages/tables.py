"""Tables as CSV and JSON: what a page shows, for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from registry.catalog.documents import plain
from registry.catalog.entry import Entry
from registry.catalog.trail import Event

MOST = 10_000
"""Rows of one file."""

_FACTS = ("version", "digest", "pushed", "wrapper", "class", "parameters", "bytes", "aliases", "tags", "note")

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet would take for the beginning of a formula, the last four in full width."""


def wanted(request: Request) -> str | None:
    """Return the format that is asked for in the place of a page."""
    asked = request.query_params.get("format")
    return asked if asked in ("csv", "json") else None


def of_entries(form: str, entries: Sequence[Entry]) -> Response:
    """Answer with versions, a row each: facts, and a column for each metric that one of them has."""
    keys = sorted({key for entry in entries for key in entry.metrics})
    header = (*_FACTS, *(f"metrics.{key}" if key in _FACTS else key for key in keys))
    rows = (
        (
            entry.ref,
            entry.digest,
            entry.created_at.isoformat(),
            entry.wrapper,
            entry.model_class or "",
            entry.parameter_count,
            entry.byte_count,
            " ".join(entry.aliases),
            " ".join(f"{key}={value}" for key, value in entry.tags.items()),
            entry.note,
            *(entry.metrics.get(key) for key in keys),
        )
        for entry in entries
    )
    return table(form, "versions", header, rows)


def of_events(form: str, events: Iterable[Event]) -> Response:
    """Answer with events, a row each."""
    header = ("number", "at", "actor", "verb", "name", "reference", "digest", "details", "hash", "origin")
    rows = (
        (e.number, e.at.isoformat(), e.actor, e.verb, e.name, e.reference, e.digest, e.details, e.hash, e.origin)
        for e in events
    )
    return table(form, "events", header, rows)


def table(form: str, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """Answer with a table as a file to keep."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
    if form == "json":
        document = plain([dict(zip(header, row, strict=True)) for row in rows])
        return Response(json.dumps(document, indent=2, allow_nan=False), media_type="application/json", headers=headers)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_cell(cell) for cell in header])
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return Response(text.getvalue(), media_type="text/csv", headers=headers)


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet runs."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_DANGEROUS) else "" if value is None else value
