"""What the rooms above ask of a catalog and change in it: all that another one would have to do in place of SQLite's.

What each method does, and the errors that it raises, stand in ``registry.catalog.catalog.Catalog``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from registry.catalog.bookkeeping import Bookkeeping
from registry.catalog.copies import Copies
from registry.catalog.entry import Entry
from registry.catalog.lineage import Lineage
from registry.catalog.listing import ModelSummary
from registry.catalog.page import Page
from registry.catalog.query import Query
from registry.catalog.renaming import Renamed
from registry.catalog.rows import Source
from registry.catalog.trail import Event, Only
from registry.catalog.trash import Trashed
from registry.catalog.version import NewVersion
from registry.reference import Reference

if TYPE_CHECKING:
    from registry.tensors.manifest import BlobRecord, Location, Manifest


class Versions(Protocol):
    """Which versions there are, and what each is: what a load asks."""

    def resolve(self, reference: Reference | str, *, trashed: bool = False) -> Entry: ...
    def current(self, name: str) -> str: ...
    def entries(
        self,
        name: str | None = None,
        *,
        trashed: bool = False,
        limit: int | None = None,
    ) -> tuple[Entry, ...]: ...
    def count(self, name: str | None = None, *, trashed: bool = False) -> int: ...
    def manifest_and_documents(self, entry: Entry) -> tuple[Manifest, dict[str, bytes]]: ...
    def document(self, entry: Entry, kind: str) -> bytes | None: ...
    def with_weights(self, digest: str) -> Entry | None: ...
    def card(self, name: str) -> str | None: ...


class Searches(Protocol):
    """What there is: what lists and the trail show."""

    def search(
        self,
        query: Query,
        *,
        trashed: bool = False,
        limit: int | None = None,
        after: str | None = None,
        asked: Query | None = None,
    ) -> Page: ...
    def models(self, name: str | None = None) -> tuple[ModelSummary, ...]: ...
    def events(
        self, name: str | None = None, limit: int | None = None, only: Only | None = None
    ) -> tuple[Event, ...]: ...


class Changes(Protocol):
    """What may change of versions and models that are there."""

    def add_facts(
        self,
        entry: Entry,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        note: str = "",
        remove_metrics: Collection[str] = (),
        remove_tags: Collection[str] = (),
        verb: str = "note",
    ) -> Entry: ...
    def set_alias(self, entry: Entry, alias: str) -> None: ...
    def drop_alias(self, name: str, alias: str) -> None: ...
    def set_card(self, name: str, text: str) -> None: ...
    def roll_back(self, name: str, alias: str) -> Entry: ...
    def rename(self, old: str, new: str) -> Renamed: ...
    def restore(self, *entries: Entry) -> tuple[Entry, ...]: ...


class Additions(Protocol):
    """How a version comes in: a push finds what is stored, writes the rest, and adds it in one transaction."""

    def knows(self, name: str, *, to_add: bool = False) -> bool: ...
    def next_number(self, name: str) -> int: ...
    def sources(self) -> Sequence[Source]: ...
    def locate(self, digests: Iterable[str]) -> dict[str, Location]: ...
    def holds(self, new: NewVersion, manifest: Manifest) -> bool: ...
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
        tells_again: bool = True,
        confirm: Callable[[], None] = ...,
    ) -> Entry: ...


class Collections(Protocol):
    """What may go: a collection purges and forgets, and then, under the lock, looks what is still needed."""

    def due(self, before: datetime) -> tuple[tuple[str, ...], frozenset[str]]: ...
    def purge(self, before: datetime) -> tuple[str, ...]: ...
    def forget_unneeded_blobs(self) -> frozenset[str]: ...
    def referenced_blobs(self) -> frozenset[str]: ...
    def known_blobs(self) -> Mapping[str, int]: ...
    def record_event(self, verb: str, entry: Entry | None = None, details: Mapping[str, Any] | None = None) -> None: ...
    def write_lock(self) -> AbstractContextManager[None]: ...


class Descents(Protocol):
    """What comes from what, and what goes together."""

    @property
    def lineage(self) -> Lineage: ...
    def trash(self, *entries: Entry, force: bool = False) -> Trashed: ...


class Audits(Protocol):
    """Whether the tables say what the trail, the manifests and the files say; and how they are put right."""

    def check_books(self, name: str | None = None, number: int | None = None) -> Bookkeeping: ...
    def needed_by(self, entry: Entry) -> frozenset[str]: ...
    def tensors_in(self, blob: str) -> Mapping[str, int]: ...
    def places(self) -> Mapping[str, tuple[str, int]]: ...
    def distrust_blobs(self, digests: Iterable[str]) -> None: ...
    def restate(self, entry: Entry, sizes: Mapping[str, int]) -> None: ...
    def replace_manifest(self, entry: Entry, manifest: Manifest, new_blobs: Sequence[BlobRecord]) -> None: ...


class Exchange(Protocol):
    """What leaves for other homes, and comes from them."""

    @property
    def copies(self) -> Copies: ...


class CatalogProtocol(Versions, Searches, Changes, Additions, Collections, Descents, Audits, Exchange, Protocol):
    """One registry's catalog."""
