"""The catalog of one home: every question that is asked of it, and every change that is made to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from registry.catalog import (
    blobs,
    cards,
    listing,
    lookup,
    name_statements,
    source_statements,
    statements,
    trail,
    trash,
    versions,
)
from registry.catalog.access import text
from registry.catalog.amendments import Amendments
from registry.catalog.change import hold
from registry.catalog.entry import Entry
from registry.catalog.file_digests import FileDigests
from registry.catalog.histories import Histories
from registry.catalog.listing import ModelSummary
from registry.catalog.page import Page
from registry.catalog.query import Query, named
from registry.catalog.record import DECISIVE
from registry.catalog.rows import Source
from registry.catalog.search import search
from registry.catalog.version import NewVersion
from registry.errors.catalog import ChangedVersion, FormerName
from registry.errors.client import KeyUsedBefore
from registry.reference import Reference, check_model_name, parse

if TYPE_CHECKING:
    from registry.catalog.bookkeeping import Bookkeeping
    from registry.catalog.lineage import Lineage
    from registry.catalog.overview import Overview
    from registry.catalog.remembered import Remembered
    from registry.catalog.stretches import Stretches
    from registry.catalog.tokens import Tokens
    from registry.tensors.manifest import BlobRecord, Location, Manifest


class Catalog(Amendments, FileDigests, Histories):
    """What is known of every version. Threads and forked processes may share one; every change is one transaction.

    Every method may raise DatabaseBusy, DatabaseFull, DatabaseDamaged and HomeUnusable; those that change something,
    HomeReadOnly.
    """

    # Questions

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Have what this thread asks inside answered as of one moment, and in less time than one by one."""
        with self._database.snapshot():
            yield

    def resolve(self, reference: Reference | str, *, trashed: bool = False) -> Entry:
        """Return the entry that a reference names; with ``trashed``, one in the trash too.

        Raises:
            InvalidReference, InvalidModelName, InvalidAlias: it is no reference.
            UnknownModel, UnknownVersion, NoLiveVersion: it names nothing; with the nearest names.
            TrashedVersion, PurgedVersion: what it names is in the trash, or gone.
            AmbiguousDigest: it names several.
        """
        return lookup.resolve(self._database, parse(reference) if isinstance(reference, str) else reference, trashed)

    def current(self, name: str) -> str:
        """Return what the model is called now that has a name, or had it before.

        Raises:
            InvalidModelName, UnknownModel
        """
        return lookup.current(self._database, check_model_name(name))

    def entries(self, name: str | None = None, *, trashed: bool = False, limit: int | None = None) -> tuple[Entry, ...]:
        """Return the entries of a model or of all, the newest first: outside the trash, or with ``trashed`` in it.

        Raises:
            UnknownModel: there is no such name.
        """
        if name is not None:
            check_model_name(name)
        return search(self._database, named(name), trashed=trashed, limit=limit)

    def search(
        self,
        query: Query,
        *,
        trashed: bool = False,
        limit: int | None = None,
        after: str | None = None,
        asked: Query | None = None,
    ) -> Page:
        """Return the entries that a query asks for, and the token of those after ``limit`` of them.

        Args:
            asked: the query as the user gave it, by a name that the model may have had before.

        Raises:
            UnknownModel: it names a model that there is not.
            UnusablePageToken: ``after`` is not a token of this query.
        """
        return search(self._database, query, trashed=trashed, limit=limit, after=after, asked=asked)

    def count(self, name: str | None = None, *, trashed: bool = False) -> int:
        """Return the number of versions, outside the trash or in it."""
        return listing.count(self._database, name, trashed)

    def with_weights(self, digest: str) -> Entry | None:
        """Return the newest live version of whatever name that has weights of this digest, or None."""
        found = listing.read(self._database.rows(statements.WHOLE_WITH_WEIGHTS, weights=digest))
        return found[0] if found else None

    def card(self, name: str) -> str | None:
        """Return what a model's users should know, in Markdown, or None.

        Raises:
            UnknownModel: there is no such name.
        """
        return cards.card(self._database, self.current(name))

    def models(self, name: str | None = None) -> tuple[ModelSummary, ...]:
        """Return the names that have a live version; of one name, or of a pattern in which ``*`` is any characters.

        Raises:
            UnknownModel: there is no such name.
        """
        found = listing.models(self._database, name)
        if not found and name is not None and "*" not in name:
            lookup.current(self._database, check_model_name(name))
        return found

    def names(self) -> tuple[str, ...]:
        """Return the names of all models, in alphabetical order."""
        return tuple(sorted(row.name for row in self._database.rows(statements.MODEL_NAMES)))

    def aliases(self, name: str | None = None) -> tuple[str, ...]:
        """Return the aliases of a model, or of all."""
        return tuple(row.alias for row in self._database.rows(statements.aliases(name)))

    def sources(self) -> Sequence[Source]:
        """Return what every version that is not purged was pushed from, where that was a file or a folder."""
        return self._database.rows(source_statements.SOURCES)

    def manifest_and_documents(self, entry: Entry) -> tuple[Manifest, dict[str, bytes]]:
        """Return where an entry's tensors are, and the documents that belong to what it is, by kind.

        Of a copied version also where their tensors are here, for ``blobs.decode_documents``.

        Raises:
            ChangedVersion: there is none, or it is not readable; the database was edited, or the version collected.
        """
        rows = self._database.rows(statements.DOCUMENTS_OF, uid=entry.uid, number=entry.version)
        bodies = {row.kind: row.body for row in rows}
        try:
            manifest = blobs.decode(bodies.get("manifest", b""))
        except ValueError as error:
            raise ChangedVersion(entry.ref) from error
        return manifest, {kind: bodies[kind] for kind in (*DECISIVE, blobs.PLACES) if kind in bodies}

    def document(self, entry: Entry, kind: str) -> bytes | None:
        """Return a document of an entry (``"training"``, ``"example"``), or None."""
        rows = self._database.rows(statements.DOCUMENT, uid=entry.uid, number=entry.version, kind=kind)
        return rows[0].body if rows else None

    def locate(self, digests: Iterable[str]) -> dict[str, Location]:
        """Return where tensors are stored, those that are."""
        return blobs.locate(self._database, digests)

    @property
    def lineage(self) -> Lineage:
        """What comes from what: parents, bases, the versions of a run."""
        from registry.catalog.lineage import Lineage

        return Lineage(self._database)

    @property
    def overview(self) -> Overview:
        """Many versions at a glance: facets, ranges of metrics, their course."""
        from registry.catalog.overview import Overview

        return Overview(self._database)

    @property
    def stretches(self) -> Stretches:
        """Long lists, stretch by stretch."""
        from registry.catalog.stretches import Stretches

        return Stretches(self._database, self.copies)

    @property
    def remembered(self) -> Remembered:
        """What was found out and need not be found out again."""
        from registry.catalog.remembered import Remembered

        return Remembered(self._database, self._change)

    def check_books(self, name: str | None = None, number: int | None = None) -> Bookkeeping:
        """Replay the trail, and return what of it or of the tables is not as it was written.

        Args:
            name: only what it tells of this model.
            number: only what it tells of this version of it.
        """
        from registry.catalog import bookkeeping

        now = None if name is None else lookup.current(self._database, name)
        return bookkeeping.check(self._database, now, number)

    def places(self) -> Mapping[str, tuple[str, int]]:
        """Return blob and offset of every tensor that a push would find stored, by digest."""
        from registry.catalog import bookkeeping

        return bookkeeping.places(self._database)

    def referenced_blobs(self) -> frozenset[str]:
        """Return the digests of the blobs that a version needs, in the trash or not, by its manifest or the table."""
        return blobs.referenced(self._database)

    def needed_by(self, entry: Entry) -> frozenset[str]:
        """Return the blobs that a version needs by the table alone; its manifest says it, too."""
        return blobs.needed_by(self._database, entry.uid, entry.version)

    def tensors_in(self, blob: str) -> Mapping[str, int]:
        """Return the tensors that a push would share of a blob: by digest, where each begins."""
        return blobs.tensors_in(self._database, blob)

    def known_blobs(self) -> Mapping[str, int]:
        """Return the bytes of every blob that the catalog knows, by digest."""
        return blobs.known(self._database)

    @property
    def tokens(self) -> Tokens:
        """Who may do what over HTTP."""
        from registry.catalog.tokens import Tokens

        return Tokens(self._database, self._change)

    # Changes

    def knows(self, name: str, *, to_add: bool = False) -> bool:
        """Whether there is a model of this name.

        Args:
            to_add: it is asked since a version is about to be added; a server refuses now who may not.

        Raises:
            FormerName: there was one, which is called otherwise now.
        """
        if self._database.rows(statements.MODEL, name=name):
            return True
        if rows := self._database.rows(name_statements.RENAMED, former=name):
            raise FormerName(name, rows[0].name)
        return False

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
        key: str | None = None,
        tells_again: bool = True,
        confirm: Callable[[], None] = lambda: None,
    ) -> Entry:
        """Add a version, or, where the name has it already, what this one knows besides, and return its entry.

        Args:
            new_blobs: what this push wrote; every other blob of the manifests must be known still.
            beside: manifests of tensors that its documents refer to.
            is_there: what ``holds`` said; if it is so no more, nothing is added.
            unsound: blobs that this push found missing or damaged, and no other shall share.
            tells_again: have the trail say that it was pushed again where nothing came of it, too.
            confirm: called under the lock, under which alone blobs are deleted; raises if a new one is gone.

        Raises:
            Vanished: what was found was collected or trashed meanwhile: look, write what is missing, and call again.
            InvalidModelName, InvalidAlias, InvalidMetric, InvalidTag, InvalidFact: naming the part.
            FormerName: a model had the name before.
        """
        candidate = versions.prepare(new, manifest, beside)
        with self._change() as change:
            admitted = versions.admit(
                change,
                candidate,
                new_blobs,
                force_new=force_new,
                is_there=is_there,
                unsound=unsound,
                tells_again=tells_again,
                key=key,
            )
            confirm()
        entry = self._entry(admitted.id)
        if not (admitted.reused or admitted.notices):
            return entry
        return replace(entry, reused=admitted.reused, notices=admitted.notices)

    def made_by(self, name: str, key: str) -> Entry | None:
        """Return the version that a request of this user with a key has made, or met, lately; None if none has.

        Under the lock, so that a request that is sent twice makes one.

        Args:
            key: ``"KEY.DIGEST"``, of which the second part stands for the request.

        Raises:
            KeyUsedBefore: it was another request.
        """
        if not self._database.rows(statements.MODEL, name=name):
            return None
        from registry.catalog.actor import creator

        user = self._actor if self._actor is not None else creator()
        own = key.partition(".")[0]
        for event in trail.pushes_with_key(self._database, name, user, own):
            told = str(event.details.get("key", ""))
            if told.partition(".")[0] == own and event.reference is not None:  # not a tag that is called so
                if told != key:
                    raise KeyUsedBefore(own, event.reference)
                entry = self.resolve(event.reference, trashed=True)
                return replace(entry, reused=bool(event.details.get("reused")))
        return None

    def models_with(self, blob: str) -> tuple[str, ...]:
        """Return the names of the models of which a version needs a blob."""
        return self.lineage.models_with(blob)

    def due(self, before: datetime) -> tuple[tuple[str, ...], frozenset[str]]:
        """Return the versions that ``purge`` would give up, and the blobs that would still be needed after it."""
        return trash.due(self._database, text(before))

    def purge(self, before: datetime) -> tuple[str, ...]:
        """Give up the versions that were trashed before a time, and return their references."""
        with self._change() as change:
            return trash.purge(change, text(before))

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
