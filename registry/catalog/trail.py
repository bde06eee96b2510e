"""The trail: every change of the catalog, chained so that a later edit shows.

Its limits: whoever can write the database can forge a whole new trail. What it proves is that nobody changed a part
of it by hand; to prove more, keep the newest event's hash elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3

from registry.catalog import event_statements, row_digest, rows
from registry.catalog.change import Change, HeldVersion
from registry.catalog.database import Database
from registry.catalog.facts import canonical_json, storable
from registry.errors.catalog import DatabaseDamaged, UnknownVerb
from registry.notebook import called, few, html_table


@dataclass(frozen=True, repr=False)
class Event:
    """Who did what to which version, when."""

    number: int
    at: datetime
    """In UTC."""
    actor: str
    verb: str
    name: str | None
    """Of the model."""
    reference: str | None
    digest: str | None
    """Of the version's weights."""
    details: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""
    origin: str | None = None
    """The home in whose trail it stands, of an event that came with a copied version; None in this home's own."""

    def __repr__(self) -> str:
        return called(self, str(self.number), self.verb, self.reference or self.name or "", f"by {self.actor}")


class Events(tuple[Event, ...]):
    """Events, as a prompt and a notebook show them."""

    __slots__ = ()

    def __repr__(self) -> str:
        what = [" ".join(filter(None, (event.verb, event.reference or event.name))) for event in self]
        return called(self, f"of {len(self)}:" if self else "of none", few(what, 4))

    def _repr_html_(self) -> str:
        rows = [
            (
                f"{event.at:%Y-%m-%d %H:%M}",
                event.actor,
                event.verb,
                event.reference or event.name or "",
                (event.digest or "")[:12],
                event.origin or "",
            )
            for event in self
        ]
        header = ("when (UTC)", "who", "verb", "version", "digest", "in")
        return html_table("1 event" if len(rows) == 1 else f"{len(rows):,} events", header, rows)


@dataclass(frozen=True)
class Flaw:
    """Something in the catalog that is not as it was written."""

    reference: str
    """``"pointnet:v3"``, ``"event 12"``, ``"trail"``."""
    what: str

    def __str__(self) -> str:
        return f"{self.reference}: {self.what}"


VERBS = (
    *("push", "tag", "annotate", "note", "alias", "unalias", "rename", "card", "copy", "rm", "restore", "gc"),
    *("repair", "token"),
)
"""What events tell of."""


def append(
    change: Change,
    verb: str,
    version: HeldVersion | None = None,
    details: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
) -> None:
    """Add an event, in the transaction of what it tells and after that: it carries what the version then is.

    Args:
        name: of the model, where it is about none of its versions.
    """
    told = None
    if version is not None:
        # An alias belongs to the model: to move it leaves the facts as they were.
        if verb not in ("alias", "unalias") or version.id not in change.told:
            change.told[version.id] = row_digest.of(change.connection, version.id)
        told = change.told[version.id]
    end = change.connection.row(event_statements.LOCKED_TRAIL_END)
    if end is None:
        raise DatabaseDamaged("the catalog", "somebody took the end of its trail out", "backups in the home")
    length, previous = end
    row = {
        "id": length + 1,
        "at": change.at,
        "actor": change.actor,
        "verb": verb,
        "name": version.name if version else name,
        "reference": version.ref if version else None,
        "digest": version.weights if version else None,
        "details": canonical_json({**(details or {}), **({"client": change.client} if change.client else {})}),
        "previous": previous,
        "facts": told,
    }
    row["hash"] = event_hash(row)
    change.connection.run(event_statements.ADD_EVENT, **row)
    change.connection.run(event_statements.MOVE_TRAIL_END, length=row["id"], hash=row["hash"])


@dataclass(frozen=True)
class Only:
    """Which events are asked for; of all of them by default."""

    verb: str | None = None
    actor: str | None = None
    """``user@host``, or ``user`` on any host."""
    after: str | None = None
    """ISO 8601, in UTC: from then on."""
    before: str | None = None
    """Until then, that moment excluded."""

    def holds(self, event: Event) -> bool:
        """Whether an event is asked for, as the statement asks the table."""
        return (
            self.verb in (None, event.verb)
            and (self.actor is None or event.actor == self.actor or event.actor.startswith(f"{self.actor}@"))
            and (self.after is None or event.at >= datetime.fromisoformat(self.after))
            and (self.before is None or event.at < datetime.fromisoformat(self.before))
        )


def events(
    database: Database,
    names: Sequence[str] | None,
    limit: int | None,
    only: Only,
    *,
    older_than: int | None = None,
    references: Sequence[str] | None = None,
    since: int | None = None,
) -> tuple[Event, ...]:
    """Return the newest events first, of one model by all its names, or of all models.

    Args:
        older_than: a number; only events with smaller ones.
        references: of one version of the model by all its names; only what is about it.
        since: a number; only events from that one on.

    Raises:
        UnknownVerb: there are no such events.
    """
    if only.verb is not None and only.verb not in VERBS:
        there = {row.verb for row in database.rows(event_statements.VERBS)}
        if only.verb not in there:
            raise UnknownVerb(only.verb, VERBS)
    actor = None if only.actor is None else storable(only.actor)
    times = only.after, only.before
    statement = event_statements.events(names, limit, only.verb, actor, *times, older_than, references, since)
    return tuple(map(_event, database.rows(statement)))


_LATELY = 500
"""Pushes among which a repeated one is looked for."""


def pushes_with_key(database: Database, name: str, actor: str, key: str) -> tuple[Event, ...]:
    """Return the latest pushes of an actor to a model that came with an idempotency key, the newest first."""
    statement = event_statements.pushes_with_key(name, storable(actor), key, _LATELY)
    return tuple(map(_event, database.rows(statement)))


def _event(row: rows.Event) -> Event:
    details = _details(row.details)
    return Event(row.id, _moment(row.at), row.actor, row.verb, row.name, row.reference, row.digest, details, row.hash)


def _moment(text: str) -> datetime:
    """Read a time; of an event that somebody edited, which an audit names, there may be none."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return datetime.min.replace(tzinfo=UTC)


def _details(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        return {"unreadable": str(text)}


def check(
    database: Database, names: Sequence[str] | None = None, tell: Callable[[rows.Event], None] = lambda event: None
) -> Iterator[Flaw]:
    """Yield what was edited, taken out of the middle, added by hand, or cut off at the end. Inside a snapshot.

    Args:
        names: only the events of one model by all its names, each by itself, and how many there are of all.
        tell: called with every event's row, in their order.
    """
    number, previous = 0, ""
    statement = event_statements.events_after(names)
    while rows := database.rows(statement, after=number):
        for row in rows:
            if names is None and row.id != number + 1:
                yield Flaw(f"event {row.id}", f"the events after {number} and before it are missing from the trail")
            elif names is None and row.previous != previous:
                yield Flaw(f"event {row.id}", "it does not follow from the event before it, which was changed")
            if event_hash(row._asdict()) != row.hash:
                yield Flaw(f"event {row.id}", "it was changed after it was written")
            number, previous = row.id, row.hash
            tell(row)
    last = database.rows(event_statements.LAST_EVENT)
    number, previous = (last[0].id, last[0].hash) if last else (0, "")
    length = database.rows(event_statements.EVENT_COUNT)[0].total
    expected = end(database)
    if (number, previous) != expected:
        what = f"it ends with event {number}, where the catalog's last is {expected[0]}: it was cut or extended"
        yield Flaw("trail", what)
    elif length != number:
        yield Flaw("trail", f"it has {length} events, where the last one is number {number}: some are missing")


def end(database: Database) -> tuple[int, str]:
    """Return the number and the hash of the last event, as the catalog notes them."""
    rows = database.rows(event_statements.TRAIL_END)
    return (rows[0].length, rows[0].hash) if rows else (0, "")


_COVERED = ("id", "at", "actor", "verb", "name", "reference", "digest", "details", "previous")


def event_hash(row: Mapping[str, Any]) -> str:
    """Digest an event; its facts count where it has some, so that older events, which have none, keep their hash."""
    covered = [row[column] for column in _COVERED] + ([] if row["facts"] is None else [row["facts"]])
    # Bytes where an edit put them into a text's place have a text, too.
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), default=repr)
    return blake3(text.encode()).hexdigest()
