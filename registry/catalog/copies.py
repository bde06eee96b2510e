"""What leaves a catalog for another home, and what comes from one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from registry.catalog import arrivals, copy_statements as copying, past, row_digest, statements, trail
from registry.catalog.arrivals import Arrived, Whereabouts
from registry.catalog.blobs import PLACES
from registry.catalog.change import Change
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.facts import Identity, Origin
from registry.catalog.past import HISTORY
from registry.catalog.record import DECISIVE
from registry.catalog.trail import Event, Only
from registry.errors.catalog import ChangedVersion

if TYPE_CHECKING:
    from registry.catalog.parcel import Parcel


class Copies:
    """The copies of one catalog's versions."""

    def __init__(self, database: Database, change: Callable[[], AbstractContextManager[Change]]) -> None:
        self._database = database
        self._change = change
        self._events: dict[str, dict[str, list[Any]]] = {}
        """Of versions' trails, by the model's name and by reference, as they were when a model was first asked for."""

    # What leaves

    def parcel(self, entry: Entry, place: str) -> Parcel:
        """Return all that is known of a version, as of one moment.

        Args:
            place: where this is, for those who read its history elsewhere.

        Raises:
            ChangedVersion: it is not there any more, or its documents or its history cannot be read.
        """
        from registry.catalog.blobs import decode
        from registry.catalog.parcel import Parcel, carried

        with self._database.snapshot():
            rows = self._database.rows(copying.WHOLE_ROW, name=entry.name, number=entry.version)
            if not rows or rows[0].purged_at is not None:
                raise ChangedVersion(entry.ref)
            row = rows[0]._asdict()
            beside = row_digest.beside(self._database, row["id"])
            aliases = self._database.rows(statements.ALIASES_OF_VERSION, version=row["id"])
            parent = self._parent(row)
            events = self._told(entry, place)
        try:
            history = past.decode(beside.documents[HISTORY]) if HISTORY in beside.documents else ()
            places = decode(beside.documents[PLACES]).tensors if PLACES in beside.documents else {}
            return Parcel(
                name=entry.name,
                number=entry.version,
                uid=row["uid"],
                identity=arrivals.identity_of(rows[0]),
                weights=row["weights"],
                created_at=row["created_at"],
                columns={name: row[name] for name, _, _ in carried()},
                parent=parent,
                metrics=beside.metrics,
                tags=beside.tags,
                aliases=tuple(each.name for each in aliases),
                card=row["card"],
                manifest=decode(beside.documents["manifest"]),
                documents={kind: beside.documents[kind] for kind in DECISIVE if kind in beside.documents},
                places={digest: stored.location for digest, stored in places.items()},
                events=(*history, *past.check(past.more(history, events))),
            )
        except (ValueError, KeyError) as error:
            raise ChangedVersion(entry.ref) from error

    def with_weights(self, weights: str) -> str | None:
        """Return the newest live version that has these weights, or None."""
        rows = self._database.rows(copying.LIVE_WITH_WEIGHTS, weights=weights)
        return f"{rows[0].name}:v{rows[0].number}" if rows else None

    # What comes

    def standing(self, parcel: Parcel, name: str | None) -> tuple[str, int, bool]:
        """Return the name that a version would get here, the next number of that, and whether it is another model's."""
        model = arrivals.model_for(self._database, parcel, name)
        if model is None:
            return name or parcel.name, 1, False
        return model.name, model.next_number, model.uid != parcel.uid and name is None

    def is_here(self, identity: Identity) -> bool:
        """Whether a version is here, even if it is in the trash."""
        return self.called(identity) is not None

    def called(self, identity: Identity) -> str | None:
        """Return the name of the model here of which a version is, in the trash or not; None if it is not here."""
        row = arrivals.find(self._database, identity)
        return None if row is None else str(row.name)

    def meet(self, parcel: Parcel, place: str, *, update: bool, dry_run: bool = False) -> Arrived | None:
        """Add to a version that is here what a brought one knows besides; None if it is not here.

        Where there is nothing to add, nothing is locked and nothing written.

        Raises:
            Vanished: it was collected meanwhile.
        """
        row = arrivals.find(self._database, parcel.identity)
        if row is None:
            return None
        met = arrivals.meet(self._database, row, parcel, update)
        if dry_run or met.version.is_trashed or not met.changes:
            return arrivals.arrived(met)
        with self._change() as change:
            return arrivals.add(change, parcel, Origin(place, parcel.identity), update)

    def take_in(
        self,
        parcel: Parcel,
        place: str,
        here: Whereabouts,
        *,
        name: str | None,
        update: bool,
        confirm: Callable[[], None] = lambda: None,
    ) -> Arrived:
        """Write a version whose bytes are here now, in one transaction.

        Args:
            place: where it comes from.
            name: under which it is kept, instead of its own.
            confirm: called under the lock, under which alone blobs are deleted; raises if a new one is gone.

        Raises:
            Vanished: bytes were collected meanwhile, or somebody else has brought it: begin again.
        """
        with self._change() as change:
            arrived = arrivals.take_in(change, parcel, Origin(place, parcel.identity), here, name, update)
            confirm()
        return arrived

    # What is told of it

    def with_histories(
        self, events: Sequence[Event], names: Sequence[str] | None, limit: int | None, only: Only
    ) -> tuple[Event, ...]:
        """Return events, newest first, with those asked for that came with copied versions.

        What came with a copy happened before it, so the copies among the newest events tell all that is newer than the
        oldest of them; where only some are asked for, every copy is looked at.
        """
        found = list(events)
        copies = events if only == Only() else trail.events(self._database, names, None, Only("copy"))
        copied = dict.fromkeys((event.name, event.reference) for event in copies if event.verb == "copy" and event.name)
        for name, reference in copied:
            number = int(str(reference).rpartition(":v")[2])
            found += filter(only.holds, self.history(name, number))
        return tuple(past.in_order(found)[:limit])

    def history(self, name: str, number: int) -> list[Event]:
        """Return what came with a copied version of what happened to it elsewhere, the newest first."""
        rows = self._database.rows(copying.HISTORY_OF, name=name, number=number)
        found = _legible(rows[0].body) if rows else []
        return sorted(found, key=lambda event: (event.at, event.number), reverse=True)

    def _parent(self, row: Mapping[str, Any]) -> Identity | None:
        """Return which version a version's parent is, wherever it lies."""
        if row["parent_uid"] is None:
            return None
        own = Identity(row["parent_uid"], row["parent_number"], row["parent_record"])
        for found in self._database.rows(copying.WITH_RECORD, record=own.record):
            if (found.uid, found.number) == (own.uid, own.number):
                return arrivals.identity_of(found)
        return own

    def _told(self, entry: Entry, place: str) -> list[dict[str, Any]]:
        """Return what the trail tells of a version, under every name that its model has had."""
        names = [row.name for row in self._database.rows(copying.NAMES_OF, name=entry.name)]
        found = [event for name in (entry.name, *names) for event in self._of_model(name, f"{name}:v{entry.version}")]
        return [
            {past.PLACE: place, **{column: getattr(event, column) for column in past.COLUMNS}}
            for event in sorted(found, key=lambda event: int(event.id))
        ]

    def _of_model(self, name: str, reference: str) -> Iterable[Any]:
        if name not in self._events:
            grouped: dict[str, list[Any]] = {}
            for event in self._database.rows(copying.EVENTS_OF, name=name):
                grouped.setdefault(str(event.reference), []).append(event)
            self._events[name] = grouped
        return self._events[name].get(reference, ())


def _legible(body: object) -> list[Event]:
    """Return the events of a history; none of one that somebody edited, which an audit names."""
    try:
        return past.told(past.decode(body)) if isinstance(body, bytes) else []
    except ValueError:
        return []
