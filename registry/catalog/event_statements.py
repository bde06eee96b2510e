"""The statements of the trail, on the tables of ``schema`` like all others."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, bindparam, func, insert, update

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select

_EVENTS, _TRAIL = schema.EVENTS, schema.TRAIL

TRAIL_END: Reading[rows.TrailEnd] = select(_TRAIL.c.length, _TRAIL.c.hash)
LOCKED_TRAIL_END = TRAIL_END.with_for_update()
"""The lock row of a database whose transactions do not lock it whole."""
MOVE_TRAIL_END = update(_TRAIL)
ADD_EVENT = insert(_EVENTS)
EVENT_COUNT: Reading[rows.Total] = select(func.count().label("total")).select_from(_EVENTS)
LAST_EVENT: Reading[rows.LastEvent] = select(_EVENTS.c.id, _EVENTS.c.hash).order_by(_EVENTS.c.id.desc()).limit(1)

HASH_OF: Reading[rows.LastEvent] = select(_EVENTS.c.id, _EVENTS.c.hash).where(_EVENTS.c.id == bindparam("number"))


def _of_names(names: Sequence[str]) -> ColumnElement[bool]:
    """One name is asked for by itself: its events then come in their order from the index, and need no sorting."""
    return _EVENTS.c.name == names[0] if len(names) == 1 else _EVENTS.c.name.in_(names)


def events(
    names: Sequence[str] | None,
    limit: int | None,
    verb: str | None = None,
    actor: str | None = None,
    after: str | None = None,
    before: str | None = None,
    older_than: int | None = None,
    references: Sequence[str] | None = None,
    since: int | None = None,
) -> Reading[rows.Event]:
    """Return the statement for the newest events: from ``after`` on, and before ``before``.

    Args:
        names: all that one model has and had; None for every model.
        actor: ``user@host``, or ``user`` on any host.
        older_than: a number; only events with smaller ones.
        references: all that one version has and had; None for every version, and what is about none.
        since: a number; only events from that one on.
    """
    found: Reading[rows.Event] = select(_EVENTS).order_by(_EVENTS.c.id.desc()).limit(limit)
    if names is not None:
        found = found.where(_of_names(names))
    if references is not None:
        found = found.where(_EVENTS.c.reference.in_(references))
    if older_than is not None:
        found = found.where(_EVENTS.c.id < older_than)
    if since is not None:
        found = found.where(_EVENTS.c.id >= since)
    if verb is not None:
        found = found.where(_EVENTS.c.verb == verb)
    if actor is not None:
        # 'A' follows '@', so that these are the texts that begin with the user and '@'.
        on_any_host = (_EVENTS.c.actor >= f"{actor}@") & (_EVENTS.c.actor < f"{actor}A")
        found = found.where((_EVENTS.c.actor == actor) | on_any_host)
    if after is not None:
        found = found.where(_EVENTS.c.at >= after)
    return found if before is None else found.where(_EVENTS.c.at < before)


def events_after(names: Sequence[str] | None) -> Reading[rows.Event]:
    """Return the statement for the next events after one (the parameter ``after``)."""
    some: Reading[rows.Event] = (
        select(_EVENTS).where(_EVENTS.c.id > bindparam("after")).order_by(_EVENTS.c.id).limit(5000)
    )
    return some if names is None else some.where(_of_names(names))


def moves(names: Sequence[str], alias: str, *, oldest_first: bool = False) -> Reading[rows.Event]:
    """Return the statement for the next moves of a model's alias, and of few whose spelling is near.

    Its parameters: ``edge``, the event after which to go on, and ``end``, the time before which they were made.
    """
    is_next = _EVENTS.c.id > bindparam("edge") if oldest_first else _EVENTS.c.id < bindparam("edge")
    found: Reading[rows.Event] = select(_EVENTS).where(
        _of_names(names),
        is_next,
        _EVENTS.c.at < bindparam("end"),
        (_EVENTS.c.verb == "alias") | (_EVENTS.c.verb == "unalias"),
        _EVENTS.c.details.contains(f'"alias":"{alias}"', autoescape=True),
    )
    return found.order_by(_EVENTS.c.id if oldest_first else _EVENTS.c.id.desc()).limit(200)


def pushes_with_key(name: str, actor: str, key: str, most: int) -> Reading[rows.Event]:
    """Return the statement for the pushes of an actor to a model that came with an idempotency key.

    Args:
        most: of the newest, among how many they are looked for.
    """
    lately = events([name], most, "push", actor).subquery()
    # A key has no character that is one more in JSON; behind it stands the digest of the request.
    has_key = lately.c.details.contains(f'"key":"{key}.', autoescape=True)
    found: Reading[rows.Event] = select(lately).where(has_key).order_by(lately.c.id.desc())
    return found


def last_removal(references: Sequence[str]) -> Reading[rows.Event]:
    """Return the statement for the event that put a version into the trash last, by all references that it had."""
    removals: Reading[rows.Event] = select(_EVENTS).where(
        _of_names([reference.rpartition(":v")[0] for reference in references]),
        _EVENTS.c.reference.in_(references),
        _EVENTS.c.verb == "rm",
    )
    return removals.order_by(_EVENTS.c.id.desc()).limit(1)


VERBS: Reading[rows.Verb] = select(_EVENTS.c.verb).distinct().order_by(_EVENTS.c.verb)
