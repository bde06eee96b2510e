"""A version that comes from another home: taken in, or met again; all inside one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.catalog import aliases, blobs, copy_statements as copies, past, statements, trail
from registry.catalog.blobs import PLACES
from registry.catalog.cards import check_card
from registry.catalog.change import Change, HeldVersion
from registry.catalog.connection import Connection
from registry.catalog.database import Database
from registry.catalog.facts import Identity, Origin
from registry.catalog.merging import Difference, Merge, Said, merge
from registry.catalog.past import HISTORY
from registry.catalog.record import seal
from registry.catalog.rows import ModelHere, WholeVersion
from registry.catalog.version import Vanished, check_metrics, check_note, check_tags
from registry.catalog.versions import write_metrics_and_tags
from registry.reference import check_alias, check_model_name

if TYPE_CHECKING:
    from registry.catalog.parcel import Parcel
    from registry.tensors.manifest import BlobRecord, Manifest

MOST_NUMBER = 10**9
"""Of a version that is taken in: the numbers that follow must last."""


@dataclass(frozen=True)
class Arrived:
    """What became of a version that was brought."""

    name: str
    number: int
    is_new: bool = False
    is_trashed: bool = False
    """It is here, in the trash; nothing was written."""
    added: tuple[str, ...] = ()
    """What was written to a version that was here, in words."""
    differences: tuple[Difference, ...] = ()
    is_other_model: bool = False
    """The model of that name here is another one than the one there."""

    @property
    def ref(self) -> str:
        return f"{self.name}:v{self.number}"


@dataclass(frozen=True)
class Whereabouts:
    """Where a version's bytes are here, once they have been moved."""

    manifest: Manifest
    beside: Mapping[str, Manifest]
    """The documents' contents, by kind."""
    new_blobs: Sequence[BlobRecord] = ()
    unsound: Collection[str] = ()

    def places(self, documents: Mapping[str, bytes]) -> bytes | None:
        """Return the document that says where the documents' tensors are, if they do not say it themselves."""
        from registry.tensors.manifest import Manifest

        said = {kind: blobs.decode(body).tensors for kind, body in documents.items()}
        moved = {
            stored.digest: stored
            for kind, manifest in self.beside.items()
            for name, stored in manifest.tensors.items()
            if said[kind][name].location != stored.location
        }
        return Manifest(dict(sorted(moved.items()))).encode() if moved else None


def identity_of(row: WholeVersion) -> Identity:
    """Return which version a row is, wherever it lies."""
    origin = Origin.decode(row.origin)
    return origin.identity if origin is not None else Identity(row.uid, row.number, row.record)


def find(connection: Connection | Database, identity: Identity) -> WholeVersion | None:
    """Return the row of a version that is here, outside the trash if it can be; None if it is not, or was collected."""
    rows = connection.rows(copies.WITH_RECORD, record=identity.record)
    return next((row for row in rows if identity_of(row) == identity), None)


def model_for(connection: Connection | Database, parcel: Parcel, name: str | None) -> ModelHere | None:
    """Return the model here that a version belongs to: the very one, or the one of its name; None if it is new here.

    Args:
        name: under which it is to be kept, instead of its own.
    """
    asked = [] if name is not None else [(copies.MODEL_OF_UID, {"uid": parcel.uid})]
    named = {"name": name or parcel.name}
    for statement, parameters in (*asked, (copies.MODEL_OF_NAME, named), (copies.MODEL_ONCE_NAMED, named)):
        if rows := connection.rows(statement, **parameters):
            return rows[0]
    return None


def check(parcel: Parcel) -> None:
    """Refuse what the catalog could not keep as it is.

    Raises:
        InvalidModelName, InvalidAlias, InvalidMetric, InvalidTag, InvalidFact: naming the part.
        ValueError: its number cannot be one.
    """
    check_model_name(parcel.name)
    for alias in parcel.aliases:
        check_alias(alias)
    check_metrics(parcel.metrics)
    check_tags(parcel.tags)
    check_note(parcel.note)
    if parcel.card is not None:
        check_card(parcel.card)
    if not 1 <= parcel.number <= MOST_NUMBER:
        raise ValueError(f"a version has the number {parcel.number}")


@dataclass(frozen=True)
class Met:
    """A version that is here already, and what a brought one adds to it."""

    version: HeldVersion
    merged: Merge
    history: tuple[Mapping[str, Any], ...] | None
    """The whole of it, where it changes."""
    card: str | None
    """The model's, where it gets one."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        merged = self.merged
        return merged.facts or bool(merged.aliases) or self.history is not None or self.card is not None


def meet(connection: Connection | Database, row: WholeVersion, parcel: Parcel, update: bool) -> Met:
    """Compare a version here with the same one that is brought."""
    version = HeldVersion(row.id, row.model_id, row.name, row.number, row.weights, row.trashed_at is not None)
    pointing = {each.alias: f"{row.name}:v{each.number}" for each in connection.rows(statements.aliases(row.name))}
    metrics = {each.key: each.value for each in connection.rows(statements.METRICS, version=row.id)}
    tags = {each.key: each.value for each in connection.rows(statements.TAGS, version=row.id)}
    here = Said(metrics, tags, row.note, pointing)
    history = _longer(connection, row, parcel) if row.origin is not None else None
    card = parcel.card if row.card is None and row.uid == parcel.uid else None
    return Met(version, merge(version.ref, here, _said(parcel), update=update), history, card)


def take_in(
    change: Change,
    parcel: Parcel,
    origin: Origin,
    here: Whereabouts,
    name: str | None,
    update: bool,
) -> Arrived:
    """Write a version that is not here.

    Raises:
        Vanished: a blob is not stored any more, or somebody else has brought the version meanwhile.
    """
    connection = change.connection
    if here.unsound:
        blobs.distrust(connection, here.unsound)
    if find(connection, parcel.identity) is not None:
        raise Vanished(f"{parcel.ref} was copied by somebody else")
    manifests = (here.manifest, *here.beside.values())
    ids = blobs.store(connection, manifests, here.new_blobs, change.at)
    model = model_for(connection, parcel, name)
    number = parcel.number if model is None else max(parcel.number, model.next_number)
    details: dict[str, Any] = {
        "record": parcel.identity.record,
        "metrics": dict(parcel.metrics),
        "note": parcel.note,
        "created_at": parcel.created_at,
        "from": origin.place,
        "was": parcel.ref,
        **({"tags": dict(parcel.tags)} if parcel.tags else {}),
    }
    if model is None:
        details["uid"] = uid = _new_uid(connection, parcel)
        called, card = name or parcel.name, None
        model_id = connection.add(statements.ADD_MODEL, name=called, next_number=number + 1, uid=uid)
    else:
        model_id, called, uid, card = model.id, model.name, model.uid, model.card
        connection.run(statements.CHANGE_MODEL, model=model_id, next_number=number + 1)
    row = {
        **parcel.columns,
        **_parent(connection, parcel),
        "origin": origin.encode(),
        "model_id": model_id,
        "number": number,
        "weights": parcel.weights,
        "record": parcel.identity.record,
        "seal": seal(called, number, parcel.identity.record),
        "sealed_as": called,
        "created_at": parcel.created_at,
    }
    version_id = connection.add(statements.ADD_VERSION, **row)
    places = here.places(parcel.documents)
    documents = {
        "manifest": here.manifest.encode(),
        **parcel.documents,
        **({PLACES: places} if places is not None else {}),
        **({HISTORY: past.encode(parcel.events)} if parcel.events else {}),
    }
    connection.run_all(
        statements.ADD_DOCUMENT,
        [{"version_id": version_id, "kind": kind, "body": body} for kind, body in documents.items()],
    )
    blobs.need(connection, version_id, ids.values())
    write_metrics_and_tags(connection, version_id, parcel.metrics, parcel.tags)
    version = HeldVersion(version_id, model_id, called, number, parcel.weights)
    trail.append(change, "copy", version, details)
    pointing = {each.alias: f"{called}:v{each.number}" for each in connection.rows(statements.aliases(called))}
    there = Said(aliases=dict.fromkeys(parcel.aliases, ""))
    merged = merge(version.ref, Said(aliases=pointing), there, update=update)
    for alias in merged.aliases:
        aliases.point(change, version, alias)
    if card is None and parcel.card is not None and uid == parcel.uid:
        _set_card(change, version, parcel.card)
    return Arrived(
        called, number, is_new=True, differences=merged.differences, is_other_model=uid != parcel.uid and name is None
    )


def add(change: Change, parcel: Parcel, origin: Origin, update: bool) -> Arrived:
    """Add to a version that is here what a brought one knows besides.

    Raises:
        Vanished: it is not here any more.
    """
    connection = change.connection
    row = find(connection, parcel.identity)
    if row is None:
        raise Vanished(f"{parcel.ref} was collected")
    met = meet(connection, row, parcel, update)
    if met.version.is_trashed or not met.changes:
        return arrived(met)
    version, merged = met.version, met.merged
    write_metrics_and_tags(connection, version.id, merged.metrics, merged.tags)
    details: dict[str, Any] = {"reused": True, "from": origin.place, "was": parcel.ref}
    details |= {key: dict(new) for key, new in (("metrics", merged.metrics), ("tags", merged.tags)) if new}
    if merged.note is not None:
        connection.run(statements.CHANGE_VERSION, version=version.id, note=merged.note)
        details["note"] = merged.note
    if met.history is not None:
        body = past.encode(met.history)
        if connection.rows(copies.HISTORY_OF, name=version.name, number=version.number):
            connection.run(copies.REPLACE_DOCUMENT, version=version.id, of_kind=HISTORY, body=body)
        else:
            connection.run(statements.ADD_DOCUMENT, version_id=version.id, kind=HISTORY, body=body)
    if merged.facts or met.history is not None:
        trail.append(change, "copy", version, details)
    for alias in merged.aliases:
        aliases.point(change, version, alias)
    if met.card is not None:
        _set_card(change, version, met.card)
    return arrived(met)


def arrived(met: Met) -> Arrived:
    """Return what became of a version that was here."""
    name, number = met.version.name, met.version.number
    if met.version.is_trashed:
        return Arrived(name, number, is_trashed=True)
    added = (*met.merged.added, *(["history"] if met.history is not None else []), *(["card"] if met.card else []))
    return Arrived(name, number, added=added, differences=met.merged.differences)


def _said(parcel: Parcel) -> Said:
    return Said(parcel.metrics, parcel.tags, parcel.note, dict.fromkeys(parcel.aliases, ""))


def _longer(
    connection: Connection | Database, row: WholeVersion, parcel: Parcel
) -> tuple[Mapping[str, Any], ...] | None:
    """Return a copied version's history with what has happened since where it comes from; None if nothing has."""
    bodies = connection.rows(copies.HISTORY_OF, name=row.name, number=row.number)
    here = past.decode(bodies[0].body) if bodies else ()
    names = [row.name, *(former.name for former in connection.rows(copies.NAMES_OF, name=row.name))]
    own = [event for name in names for event in connection.rows(copies.EVENTS_OF, name=name)]
    more = past.more((*here, *({"hash": event.hash} for event in own)), parcel.events)
    return (*here, *more) if past.is_news(more) else None


def _new_uid(connection: Connection, parcel: Parcel) -> str:
    """Return what a model is that is new here: what it is there, unless that one is here under another name."""
    return uuid.uuid4().hex if connection.rows(copies.MODEL_OF_UID, uid=parcel.uid) else parcel.uid


def _parent(connection: Connection, parcel: Parcel) -> dict[str, Any]:
    """Return which version the parent is here; of one that is not here, which it is in its first home."""
    if parcel.parent is None:
        return {"parent_uid": None, "parent_number": None, "parent_record": None}
    row = find(connection, parcel.parent)
    if row is None:
        uid, number, record = parcel.parent
        return {"parent_uid": uid, "parent_number": number, "parent_record": record}
    found = {"parent_uid": row.uid, "parent_number": row.number, "parent_record": row.record}
    return {**found, "parent": f"{row.name}:v{row.number}"}


def _set_card(change: Change, version: HeldVersion, card: str) -> None:
    change.connection.run(statements.CHANGE_MODEL, model=version.model_id, card=card)
    trail.append(change, "card", version, {"card": card})
