"""The catalog of one home: every question that is asked of it, and every change that is made to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.catalog import (
    aliases,
    blobs,
    bookkeeping,
    listing,
    lookup,
    source_statements,
    statements,
    trail,
    trash,
    versions,
)
from registry.catalog.bookkeeping import Bookkeeping
from registry.catalog.change import Change, hold
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.facts import storable
from registry.catalog.listing import ModelSummary
from registry.catalog.migration import HEAD, Migration
from registry.catalog.record import DECISIVE
from registry.catalog.rows import Source
from registry.catalog.sqlite import JOURNAL_MODE
from registry.catalog.trail import Event
from registry.catalog.version import Condition, NewVersion, check_metrics, check_note, check_tags
from registry.disk.filesystem import FileSystem
from registry.errors.catalog import ChangedVersion
from registry.reference import Reference, check_alias, check_model_name, parse

if TYPE_CHECKING:
    from registry.tensors.manifest import BlobRecord, Location, Manifest


class Catalog:
    """What is known of every version. Threads and forked processes may share one; every change is one transaction.

    Every method may raise DatabaseBusy, DatabaseFull, DatabaseDamaged and HomeUnusable; those that change something,
    HomeReadOnly.
    """

    def __init__(self, home: Path, *, actor: str | None = None, file_system: FileSystem | None = None) -> None:
        """Open the catalog of a home; it is made, or brought to this program's revision, where it is not.

        Args:
            actor: who stands in the trail; by default ``user@host``.
            file_system: what the home is on, where it is known better than the kernel tells.
        """
        self._database = Database(home, file_system)
        self._actor = actor

    @property
    def path(self) -> Path:
        return self._database.file.path

    @property
    def is_there(self) -> bool:
        """Whether the home is still the one that was opened; where it was deleted, a new catalog makes it again."""
        return self._database.file.is_there

    @property
    def file_system(self) -> FileSystem:
        return self._database.file.file_system

    @property
    def read_only(self) -> bool:
        return self._database.file.read_only

    @property
    def journal_mode(self) -> str:
        """SQLite's: ``wal`` on a local disk, ``delete`` on a network file system."""
        return str(self._database.rows(JOURNAL_MODE)[0].journal_mode)

    @property
    def migration(self) -> Migration | None:
        """What opening it did to the schema, with the path of the backup."""
        return self._database.file.migration

    @property
    def revision(self) -> str:
        """Of the schema; a catalog that is open has this program's."""
        return HEAD

    def close(self) -> None:
        """Close its connections."""
        self._database.close()

    # Questions

    def resolve(self, reference: Reference | str, *, trashed: bool = False) -> Entry:
        """Return the entry that a reference names; with ``trashed``, one in the trash too.

        Raises:
            InvalidReference, InvalidModelName, InvalidAlias: it is no reference.
            UnknownModel, UnknownVersion, NoLiveVersion: it names nothing; with the nearest names.
            TrashedVersion, PurgedVersion: what it names is in the trash, or gone.
            AmbiguousDigest: it names several.
        """
        return lookup.resolve(self._database, parse(reference) if isinstance(reference, str) else reference, trashed)

    def entries(
        self,
        name: str | None = None,
        *,
        trashed: bool = False,
        limit: int | None = None,
        metric: Condition | None = None,
    ) -> tuple[Entry, ...]:
        """Return entries, the newest first: outside the trash, or with ``trashed`` those in it.

        Raises:
            UnknownModel: there is no such name.
        """
        if name is not None:
            check_model_name(name)
        found = listing.entries(self._database, name, trashed, limit, metric)
        if not found and name is not None:
            lookup.check_known(self._database, name)
        return found

    def count(self, name: str | None = None, *, trashed: bool = False) -> int:
        """Return the number of versions, outside the trash or in it."""
        return listing.count(self._database, name, trashed)

    def models(self) -> tuple[ModelSummary, ...]:
        """Return the names that have a live version."""
        return listing.models(self._database)

    def sources(self) -> Sequence[Source]:
        """Return what every version that is not purged was pushed from, where that was a file or a folder."""
        return self._database.rows(source_statements.SOURCES)

    def manifest(self, entry: Entry) -> Manifest:
        """Return where an entry's tensors are.

        Raises:
            ChangedVersion: there is none, or it is not readable; the database was edited, or the version collected.
        """
        return self.manifest_and_documents(entry)[0]

    def manifest_and_documents(self, entry: Entry) -> tuple[Manifest, dict[str, bytes]]:
        """Return where an entry's tensors are, and the documents that belong to what it is, by kind.

        Raises:
            ChangedVersion: as ``manifest``.
        """
        rows = self._database.rows(statements.DOCUMENTS_OF, name=entry.name, number=entry.version)
        bodies = {row.kind: row.body for row in rows}
        try:
            manifest = blobs.decode(bodies.get("manifest", b""))
        except ValueError as error:
            raise ChangedVersion(entry.ref) from error
        return manifest, {kind: bodies[kind] for kind in DECISIVE if kind in bodies}

    def document(self, entry: Entry, kind: str) -> bytes | None:
        """Return a document of an entry (``"training"``, ``"example"``), or None."""
        rows = self._database.rows(statements.DOCUMENT, name=entry.name, number=entry.version, kind=kind)
        return rows[0].body if rows else None

    def locate(self, digests: Iterable[str]) -> dict[str, Location]:
        """Return where tensors are stored, those that are."""
        return blobs.locate(self._database, digests)

    def events(self, name: str | None = None, limit: int | None = None) -> tuple[Event, ...]:
        """Return the newest events first, of one model or of all."""
        return trail.events(self._database, name, limit)

    def pushes(self, entry: Entry) -> int:
        """Return how often an entry was pushed: once, and each time that somebody pushed its weights again."""
        return int(self._database.rows(statements.PUSHES, name=entry.name, reference=entry.ref)[0].total)

    def check_books(self, name: str | None = None, number: int | None = None) -> Bookkeeping:
        """Replay the trail, and return what of it or of the tables is not as it was written.

        Args:
            name: only what it tells of this model.
            number: only what it tells of this version of it.
        """
        return bookkeeping.check(self._database, name, number)

    def places(self) -> Mapping[str, tuple[str, int]]:
        """Return blob and offset of every tensor that a push would find stored, by digest."""
        return bookkeeping.places(self._database)

    def referenced_blobs(self) -> frozenset[str]:
        """Return the digests of the blobs that some version needs, be it in the trash, by its manifest or the table."""
        return blobs.referenced(self._database)

    def needed_by(self, entry: Entry) -> frozenset[str]:
        """Return the blobs that a version needs by the table alone; its manifest says it, too."""
        return blobs.needed_by(self._database, entry.name, entry.version)

    def tensors_in(self, blob: str) -> Mapping[str, int]:
        """Return the tensors that a push would share of a blob: by digest, where each begins."""
        return blobs.tensors_in(self._database, blob)

    def known_blobs(self) -> Mapping[str, int]:
        """Return the bytes of every blob that the catalog knows, by digest."""
        return blobs.known(self._database)

    # Changes

    def knows(self, name: str) -> bool:
        """Whether there has ever been a version of this name."""
        return bool(self._database.rows(statements.MODEL, name=name))

    def next_number(self, name: str) -> int:
        """Return the number that the next new version of a name gets."""
        rows = self._database.rows(statements.MODEL, name=name)
        return rows[0].next_number if rows else 1

    def holds(self, new: NewVersion, manifest: Manifest) -> bool:
        """Whether ``add_version``, which checks it, would find that the name has this version already."""
        return versions.holds(self._database, new, manifest)

    def add_version(
        self,
        new: NewVersion,
        manifest: Manifest,
        new_blobs: Sequence[BlobRecord],
        *,
        beside: Sequence[Manifest] = (),
        force_new: bool = False,
        is_there: bool = False,
        unsound: Collection[str] = (),
        confirm: Callable[[], None] = lambda: None,
    ) -> Entry:
        """Add a version, or, where the name has it already, what this one knows besides, and return its entry.

        Args:
            new_blobs: what this push wrote; every other blob of the manifests must be known still.
            beside: manifests of tensors that its documents refer to.
            is_there: what ``holds`` said; if it is so no more, nothing is added.
            unsound: blobs that this push found missing or damaged, and no other shall share.
            confirm: called under the lock, under which alone blobs are deleted; raises if a new one is gone.

        Raises:
            Vanished: what was found was collected or trashed meanwhile: look, write what is missing, and call again.
            InvalidModelName, InvalidAlias, InvalidMetric, InvalidTag, InvalidFact: naming the part.
        """
        candidate = versions.prepare(new, manifest, beside)
        with self._change() as change:
            admitted = versions.admit(
                change, candidate, new_blobs, force_new=force_new, is_there=is_there, unsound=unsound
            )
            confirm()
        rows = self._database.rows(statements.BY_NUMBER, name=new.name, number=admitted.number)
        entry = listing.read(rows)[0]
        return replace(entry, reused=True, notices=admitted.notices) if admitted.reused else entry

    def add_facts(
        self,
        entry: Entry,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        note: str = "",
    ) -> None:
        """Add metrics, tags and a note to a version.

        Raises:
            InvalidMetric, InvalidTag, InvalidFact
        """
        words = check_tags(tags or {})
        checked = check_metrics(metrics or {})
        check_note(note)
        with self._change() as change:
            version = hold(change, entry)
            if details := versions.add_facts(change, version, checked, note, words):
                trail.append(change, "note", version, details)

    def set_alias(self, entry: Entry, alias: str) -> None:
        """Point an alias to a version, wherever it pointed before.

        Raises:
            InvalidAlias, TrashedVersion, PurgedVersion
        """
        check_alias(alias)
        with self._change() as change:
            aliases.point(change, hold(change, entry), alias)

    def drop_alias(self, name: str, alias: str) -> None:
        """Remove an alias.

        Raises:
            UnknownVersion: there is none.
        """
        with self._change() as change:
            aliases.drop(change, check_model_name(name), check_alias(alias))

    def trash(self, entry: Entry, *, force: bool = False) -> None:
        """Put a version into the trash; with ``force`` its aliases are dropped.

        Raises:
            AliasedVersion, TrashedVersion, PurgedVersion
        """
        with self._change() as change:
            trash.trash(change, hold(change, entry), force)

    def restore(self, entry: Entry) -> None:
        """Take a version out of the trash.

        Raises:
            NotInTrash, PurgedVersion
        """
        with self._change() as change:
            trash.restore(change, hold(change, entry))

    def due(self, before: datetime) -> tuple[tuple[str, ...], frozenset[str]]:
        """Return the versions that ``purge`` would give up, and the blobs that would still be needed after it."""
        return trash.due(self._database, _text(before))

    def purge(self, before: datetime) -> tuple[str, ...]:
        """Give up the versions that were trashed before a time, and return their references."""
        with self._change() as change:
            return trash.purge(change, _text(before))

    def forget_unneeded_blobs(self) -> frozenset[str]:
        """Forget the blobs that no version needs, and return which these were: their files may go."""
        with self._change() as change:
            named = blobs.named(self._database)
            return blobs.forget(change.connection, blobs.known(self._database).keys() - named)

    def distrust_blobs(self, digests: Iterable[str]) -> None:
        """Let no later push share the tensors of damaged blobs."""
        with self._change() as change:
            blobs.distrust(change.connection, digests)

    def replace_manifest(self, entry: Entry, manifest: Manifest, new_blobs: Sequence[BlobRecord]) -> None:
        """Say that the same weights now lie elsewhere, after a repair.

        Raises:
            ChangedVersion: the manifest has other weights.
            Vanished: a blob of it is not known.
        """
        with self._change() as change:
            versions.move(change, hold(change, entry), manifest, new_blobs)

    def restate(self, entry: Entry, sizes: Mapping[str, int]) -> None:
        """Write the rows again that say which blobs a version needs; they are given with their bytes."""
        with self._change() as change:
            version = hold(change, entry)
            blobs.restate(change.connection, version.id, sizes, change.at)
            trail.append(change, "repair", version)

    def record_event(self, verb: str, entry: Entry | None = None, details: Mapping[str, Any] | None = None) -> None:
        """Add an event of something that happened outside the catalog (``repair``, ``gc``)."""
        with self._change() as change:
            trail.append(change, verb, hold(change, entry) if entry else None, details)

    @contextlib.contextmanager
    def write_lock(self) -> Iterator[None]:
        """Keep everybody else from changing the catalog; changes made inside are one transaction."""
        with self._database.write():
            yield

    @contextlib.contextmanager
    def _change(self) -> Iterator[Change]:
        with self._database.write() as connection:
            yield Change(connection, self._who, _text(datetime.now(UTC)))

    @cached_property
    def _who(self) -> str:
        if self._actor is not None:
            return storable(self._actor)
        from registry.catalog.actor import creator

        return storable(creator())


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
