"""The history of a copied version: what the trails of its former homes tell of it, kept beside its weights. Pure.

Each event has the hash that it was written with, which covers it and the hash of the event before it. So an event that
was edited on the way shows, and so does a chain that was cut between two events that followed each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from registry.catalog.facts import canonical_json
from registry.catalog.trail import Event, event_hash
from registry.tensors.spec import is_digest

HISTORY = "history"
"""The document's kind."""

PLACE = "from"
_TEXTS = ("at", "actor", "verb", "details", "previous", "hash")
_NULLABLE = ("name", "reference", "digest", "facts")
COLUMNS = ("id", *_TEXTS, *_NULLABLE)
"""Of an event, as the trail's table has it."""


def encode(events: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the document of some events, the oldest first."""
    return canonical_json({"events": [dict(event) for event in events]}).encode()


def decode(body: bytes) -> tuple[dict[str, Any], ...]:
    """Return the events of a document.

    Raises:
        ValueError: it is none, or one of them is not as it was written.
    """
    try:
        events = json.loads(body)["events"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("its history cannot be read") from error
    return check(events)


def check(events: Any) -> tuple[dict[str, Any], ...]:
    """Return events, each of which is as it was written.

    Raises:
        ValueError: one is not.
    """
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise ValueError("its history is not a list of events")
    for event in events:
        if (
            event.keys() != {PLACE, *COLUMNS}
            or type(event["id"]) is not int
            or not all(isinstance(event[name], str) for name in (PLACE, *_TEXTS))
            or not all(event[name] is None or isinstance(event[name], str) for name in _NULLABLE)
            or not _is_time(event["at"])
        ):
            raise ValueError("its history holds something that is not an event")
        if not is_digest(event["hash"]) or event_hash(event) != event["hash"]:
            raise ValueError(f"event {event['id']} of its history was changed after it was written")
    by_place = {(event[PLACE], event["id"]): event["hash"] for event in events}
    for event in events:
        if by_place.get((event[PLACE], event["id"] - 1), event["previous"]) != event["previous"]:
            raise ValueError(f"event {event['id']} of its history does not follow from the event before it")
    return tuple(events)


def more(here: Iterable[Mapping[str, Any]], there: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of one history that another lacks."""
    known = {event["hash"] for event in here}
    return [dict(event) for event in there if event["hash"] not in known]


def is_news(events: Sequence[Mapping[str, Any]]) -> bool:
    """Whether events tell something of a version: that it was copied once more does not."""
    return any(event["verb"] != "copy" for event in events)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return events, the newest first, where some came with copied versions; what was copied twice is told once."""
    found = list({(event.origin, event.number, event.hash): event for event in events}.values())
    if any(event.origin is not None for event in found):
        found.sort(key=lambda event: (event.at, event.origin is None, event.number), reverse=True)
    return found


def told(events: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Return events as a reader of the trail has them."""
    return [
        Event(
            event["id"],
            datetime.fromisoformat(event["at"]),
            event["actor"],
            event["verb"],
            event["name"],
            event["reference"],
            event["digest"],
            _details(event["details"]),
            event["hash"],
            event[PLACE],
        )
        for event in events
    ]


def _details(text: str) -> dict[str, Any]:
    try:
        details = json.loads(text)
    except (ValueError, RecursionError):
        details = None
    return details if isinstance(details, dict) else {"unreadable": text}


def _is_time(text: str) -> bool:
    """Whether a text is a time as the trail writes it: in UTC, so that it can be compared and shown anywhere."""
    try:
        return datetime.fromisoformat(text).utcoffset() == timedelta(0)
    except ValueError:
        return False
