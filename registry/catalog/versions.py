"""A new version, or what a push adds to the one that holds its weights already; all inside one transaction."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from registry.canonical.owned import stored_values
from registry.canonical.unwrap import Unwrapping
from registry.catalog import aliases, blobs, cards, renaming, statements, trail
from registry.catalog.blobs import decode
from registry.catalog.change import Change, HeldVersion
from registry.catalog.connection import Connection
from registry.catalog.database import Database
from registry.catalog.facts import canonical_json, encode_init, read_parts
from registry.catalog.record import DECISIVE, record_digest, seal
from registry.catalog.rows import Twin
from registry.catalog.version import NewVersion, Vanished, check_metrics, check_note
from registry.errors.catalog import AbsentFact, ChangedVersion
from registry.tensors.arguments import UNKNOWN
from registry.tensors.part import are_said_by

if TYPE_CHECKING:
    from registry.tensors.manifest import BlobRecord, Manifest


@dataclass(frozen=True)
class Candidate:
    """A new version with all that can be computed before the lock is taken, so that it is held only shortly."""

    new: NewVersion
    manifest: Manifest
    beside: tuple[Manifest, ...]
    """Of what the documents hold; their blobs are kept with the version."""
    metrics: Mapping[str, float]
    columns: Mapping[str, Any]
    body: bytes
    """The manifest as it is stored."""


@dataclass(frozen=True)
class Admitted:
    """What became of a candidate."""

    id: int
    """Of its row."""
    reused: bool = False
    """The name had it already."""
    notices: tuple[str, ...] = ()
    """What of the version that was there has changed; of a new one, which version has the same weights."""


def prepare(new: NewVersion, manifest: Manifest, beside: Sequence[Manifest]) -> Candidate:
    """Check a new version and work out its row.

    Raises:
        InvalidModelName, InvalidAlias, InvalidMetric, InvalidFact: naming the part.
    """
    new.check()
    columns = {
        "weights": manifest.weights_digest,
        "record": record_digest(new.facts, manifest, new.documents),
        **new.facts.columns(),
    }
    return Candidate(new, manifest, tuple(beside), check_metrics(new.metrics), columns, manifest.encode())


def admit(
    change: Change,
    candidate: Candidate,
    new_blobs: Sequence[BlobRecord],
    *,
    force_new: bool,
    is_there: bool = False,
    unsound: Collection[str] = (),
    key: str | None = None,
    tells_again: bool = True,
) -> Admitted:
    """Write a version, unless the name has it already.

    Args:
        is_there: what ``holds`` said before; the new may then lack what only a new version needs.
        unsound: blobs that the push found missing or damaged.
        key: of the request that makes it, by which the trail knows it again.
        tells_again: have the trail say that it was pushed again where nothing came of it, too.

    Raises:
        Vanished: tensors that the push did not write are not stored any more, or the version is not there any more.
    """
    new, connection = candidate.new, change.connection
    if unsound:
        blobs.distrust(connection, unsound)
    model = connection.row(statements.MODEL, name=new.name)
    notices: tuple[str, ...] = ()
    if model is not None and not force_new:
        same, other = _same(connection, model.id, new, candidate.manifest, candidate.columns["record"])
        if other is not None:
            notices = (f"{other.ref} has the same weights, and another class, training state or files",)
        if same is not None:
            notices = _add_facts(change, same, candidate, tells_again, key)
            if new.card is not None:
                cards.set_card(change, new.name, new.card)
            _put_right(change, same, candidate.manifest, new_blobs)
            return Admitted(same.id, True, notices)
    if model is None:
        renaming.refuse_former(change, new.name)
    if is_there:
        raise Vanished(f"the version of '{new.name}' with these weights is no longer there")
    ids = blobs.store(connection, (candidate.manifest, *candidate.beside), new_blobs, change.at)
    details: dict[str, Any] = {"record": candidate.columns["record"], "metrics": candidate.metrics}
    if model is None:
        uid = uuid.uuid4().hex
        model_id, number = connection.add(statements.ADD_MODEL, name=new.name, next_number=2, uid=uid), 1
        details["uid"] = uid
    else:
        model_id, number = model.id, model.next_number
        connection.run(statements.TAKE_NUMBER, model=model_id)
    own = {
        "model_id": model_id,
        "number": number,
        "seal": seal(new.name, number, candidate.columns["record"]),
        "sealed_as": new.name,
        "created_at": change.at,
    }
    version_id = connection.add(statements.ADD_VERSION, **candidate.columns, **own)
    documents = {"manifest": candidate.body, **new.documents}
    rows = [{"version_id": version_id, "kind": kind, "body": body} for kind, body in documents.items()]
    connection.run_all(statements.ADD_DOCUMENT, rows)
    blobs.need(connection, version_id, ids.values())
    write_metrics_and_tags(connection, version_id, candidate.metrics, new.tags)
    version = HeldVersion(version_id, model_id, new.name, number, candidate.columns["weights"])
    details |= {"note": new.facts.note, **({"tags": dict(new.tags)} if new.tags else {}), **_keyed(key)}
    trail.append(change, "push", version, details)
    for alias in new.aliases:
        aliases.point(change, version, alias)
    if new.card is not None:
        cards.set_card(change, new.name, new.card)
    return Admitted(version_id, notices=notices)


def holds(database: Database, new: NewVersion, manifest: Manifest) -> bool:
    """Whether the name has a version already that is what the push would make."""
    models = database.rows(statements.MODEL, name=new.name)
    return bool(models) and _same(database, models[0].id, new, manifest)[0] is not None


def add_facts(
    change: Change,
    version: HeldVersion,
    metrics: Mapping[str, float | None],
    note: str,
    tags: Mapping[str, str | None],
) -> dict[str, Any]:
    """Add metrics, tags and a note to a version that is there, and return what was new, and what it was before.

    A metric or a tag that is None is taken away.

    Raises:
        AbsentFact: what is to be taken away is not there.
    """
    details: dict[str, Any] = {
        **_set_facts(change, version, "metric", metrics, ("metrics", "were")),
        **_set_facts(change, version, "tag", tags, ("tags", "tags_were")),
    }
    old_note = change.connection.rows(statements.NOTE, version=version.id)[0].note
    if note and note not in old_note.split("\n\n"):
        text = check_note(f"{old_note}\n\n{note}" if old_note else note)
        change.connection.run(statements.CHANGE_VERSION, version=version.id, note=text)
        details["note"] = note
    return details


def _set_facts(
    change: Change, version: HeldVersion, kind: str, wanted: Mapping[str, Any], keys: tuple[str, str]
) -> dict[str, dict[str, Any]]:
    read, put, drop = _STATEMENTS[kind]
    connection = change.connection
    were = {row.key: row.value for row in connection.rows(read, version=version.id)}
    new = {key: value for key, value in wanted.items() if value is None or were.get(key) != value}
    for key in (key for key, value in new.items() if value is None):
        if key not in were:
            raise AbsentFact(version.ref, kind, key, sorted(were))
        connection.run(drop, version=version.id, **{kind: key})
    rows = [{"version_id": version.id, "key": key, "value": value} for key, value in new.items() if value is not None]
    connection.run_all(put, rows)
    old = {key: were[key] for key in new if key in were}
    return {name: said for name, said in zip(keys, (new, old), strict=True) if said}


def changed(version: HeldVersion, details: Mapping[str, Any]) -> tuple[str, ...]:
    """Word which metrics and tags had another value."""
    return (
        *(
            f"{key} of {version.ref} was {old:.12g}, and is now {_figure(details['metrics'][key])}"
            for key, old in details.get("were", {}).items()
        ),
        *(
            f"the tag {key} of {version.ref} was {old}, and is now {details['tags'][key] or 'removed'}"
            for key, old in details.get("tags_were", {}).items()
        ),
    )


def _figure(value: float | None) -> str:
    return "removed" if value is None else f"{value:.12g}"


def _add_facts(
    change: Change, version: HeldVersion, candidate: Candidate, tells_again: bool, key: str | None
) -> tuple[str, ...]:
    """Add to a version what came with a push of its weights, and say what was another one before."""
    details = add_facts(change, version, candidate.metrics, candidate.new.facts.note, candidate.new.tags)
    run = {"run": candidate.new.facts.run} if candidate.new.facts.run is not None else {}
    if tells_again or run or details or key is not None:
        trail.append(change, "push", version, {"reused": True, **run, **details, **_keyed(key)})
    moved = [(alias, was) for alias in candidate.new.aliases if (was := aliases.point(change, version, alias))]
    words = (f"{version.name}:{alias} was {was}, and is now {version.ref}" for alias, was in moved)
    return (*changed(version, details), *words)


def _keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"key": key}


def _same(
    connection: Connection | Database, model_id: int, new: NewVersion, pushed: Manifest, record: str = ""
) -> tuple[HeldVersion | None, HeldVersion | None]:
    """Return the newest live version that already is what a push would make, or else the newest with its weights.

    The first has the same weights, ties and other values; and what the push says of the class and of wrappers, and
    brings as documents, it has too. How the file had wrapped the names does not matter: that one checkpoint is one
    version is the point.

    Args:
        record: the digest of the push's, where it is known.
    """
    weights = pushed.weights_digest
    says_init = new.facts.model_class is not None and new.facts.init_as != UNKNOWN
    other = None
    for row in connection.rows(statements.SAME_WEIGHTS, model=model_id, weights=weights):
        record = record or record_digest(new.facts, pushed, new.documents)
        held = HeldVersion(row.id, model_id, new.name, row.number, weights)
        if row.record != record:
            documents = _documents(connection, held)
            manifest = decode(documents["manifest"])
            init = json.loads(encode_init(new.facts.init)), new.facts.init_as
            if (
                (new.facts.model_class is not None and new.facts.model_class != row.model_class)
                or any(
                    said is not None and said != stored
                    for said, stored in ((new.facts.builder, row.builder), (new.facts.base, row.base))
                )
                or not are_said_by(new.facts.parts, read_parts(row.parts))
                or (says_init and init != (json.loads(row.init), row.init_as))
                or any(new.documents.get(kind, documents.get(kind)) != documents.get(kind) for kind in DECISIVE)
                or _ties(manifest) != _ties(pushed)
                or canonical_json(manifest.values) != canonical_json(pushed.values)
                or not _has_wrapper_values(row, manifest, new, pushed)
                or (new.facts.unwrapping.single and not Unwrapping.from_json(json.loads(row.unwrapping)).single)
            ):
                other = other or held
                continue
        return held, None
    return None, other


def _has_wrapper_values(row: Twin, manifest: Manifest, new: NewVersion, pushed: Manifest) -> bool:
    """Whether a version has what the push brings of wrappers; a push of the bare model says nothing of them."""
    held = stored_values(Unwrapping.from_json(json.loads(row.unwrapping)), manifest.wrappers)
    brought = stored_values(new.facts.unwrapping, pushed.wrappers)
    return not brought or brought == held


def _put_right(change: Change, version: HeldVersion, pushed: Manifest, new_blobs: Sequence[BlobRecord]) -> None:
    """Let a version use the files that a push of its weights uses: that has seen to it that they are sound."""
    places = {tensor.digest: tensor.location for tensor in pushed.tensors.values()}
    manifest = decode(_documents(change.connection, version)["manifest"])
    tensors = {name: replace(stored, location=places[stored.digest]) for name, stored in manifest.tensors.items()}
    if tensors != dict(manifest.tensors):
        move(change, version, replace(manifest, tensors=tensors), new_blobs)


def _documents(connection: Connection | Database, version: HeldVersion) -> dict[str, bytes]:
    return {row.kind: row.body for row in connection.rows(statements.DOCUMENTS, version=version.id)}


def _ties(manifest: Manifest) -> frozenset[frozenset[str]]:
    return frozenset(frozenset(group) for group in manifest.ties)


_STATEMENTS: Mapping[str, tuple[Any, Any, Any]] = {
    "metric": (statements.METRICS, statements.SET_METRIC, statements.DROP_METRIC),
    "tag": (statements.TAGS, statements.SET_TAG, statements.DROP_TAG),
}
"""How each kind of facts is read, set and taken away."""


def write_metrics_and_tags(
    connection: Connection, version_id: int, metrics: Mapping[str, float], tags: Mapping[str, str]
) -> None:
    """Give a version metrics and tags, in place of those that it has under the same keys."""
    for statement, values in ((statements.SET_METRIC, metrics), (statements.SET_TAG, tags)):
        rows = [{"version_id": version_id, "key": key, "value": value} for key, value in values.items()]
        connection.run_all(statement, rows)


def move(change: Change, version: HeldVersion, manifest: Manifest, new_blobs: Sequence[BlobRecord]) -> None:
    """Replace a version's manifest by one of the same weights in other places.

    Raises:
        ChangedVersion: it has other weights.
        Vanished: a blob of it is not known.
    """
    if manifest.weights_digest != version.weights:
        raise ChangedVersion(version.ref)
    ids = blobs.store(change.connection, (manifest,), new_blobs, change.at)
    change.connection.run(statements.REPLACE_MANIFEST, version=version.id, body=manifest.encode())
    documents = blobs.decode_documents(_documents(change.connection, version))
    beside = {blob for document in documents.values() for blob in document.blobs}
    change.connection.run(statements.PURGE_NEEDS, version=version.id)
    blobs.need(change.connection, version.id, {*ids.values(), *blobs.ids(change.connection, beside)})
    trail.append(change, "repair", version)
