"""Where a registry is; its catalog and bytes together, and what its versions hold, compared with what was stored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from registry.catalog.blobs import PLACES, decode_documents
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.lookup import notice
from registry.catalog.part import PartEntry, entry_of_part
from registry.catalog.record import row_fault
from registry.client.address import ServerAddress
from registry.errors.blobs import DamagedBlob
from registry.errors.catalog import ChangedVersion
from registry.errors.client import OnServerAlone
from registry.errors.home import DatabaseMissing, NoRegistry
from registry.home import configuration
from registry.home.place import has_bytes, is_made
from registry.reference import Reference, check_model_name, parse

if TYPE_CHECKING:
    import torch

    from registry.attachments.attachment import StoredAttachment
    from registry.blobs.mapping import OpenedWeights
    from registry.blobs.store import BlobStore, Verify
    from registry.blobs.writer import Progress
    from registry.catalog.page import Page
    from registry.catalog.protocol import CatalogProtocol
    from registry.catalog.query import Query
    from registry.client.served import Served
    from registry.home.configuration import Configuration
    from registry.modules.building.specification import Constructs
    from registry.modules.building.trust import Recorded
    from registry.tensors.manifest import Manifest, StoredTensor


LoadVerify = Literal["always", "once", "never", "outputs"]


@dataclass(frozen=True)
class OpenedVersion:
    """An entry with its weights, mapped and being checked."""

    entry: Entry
    manifest: Manifest
    tensors: Mapping[str, torch.Tensor]
    check: Callable[..., None]
    """Waits until every byte is checked, and raises if one is not as it was stored; it may be given a function of
    (bytes done, bytes in all)."""
    verified: bool
    """Whether ``check`` checks anything."""
    recorded: Recorded | None
    """The class that the entry names."""
    spec: Constructs | None = None
    """What a library makes of what is kept beside the weights, where the entry names a builder."""
    base: OpenedVersion | None = None
    """Of an adapter: the version that it is put on."""


class Home:
    """A catalog and the bytes that it tells of, opened when they are first used; safe under threads and forks.

    Args:
        address: where it is: a folder, or the URL of a server.
        notify: called, once each, with what there is to say of references, such as that a model has another name now.
        source: what named the folder, as a ``HomePlace`` has it.
        wanted: where catalog and bytes are to be, instead of what the folder's configuration says.
    """

    def __init__(
        self,
        address: Path | str,
        notify: Callable[[str], None] | None = None,
        source: str = "",
        wanted: Configuration | None = None,
    ) -> None:
        # A registry that was moved is where its folder leads to.
        self.address = address if isinstance(address, str) or wanted is not None else configuration.settled(address)
        self._wanted = wanted
        self._notify = notify
        self._source = source
        self._notices: set[str] = set()
        self._catalog: Catalog | None = None

    def at(self, folder: Path) -> Home:
        """Return the home in another folder, or this one as its configuration is now."""
        return Home(folder, self._notify, self._source)

    @property
    def is_served(self) -> bool:
        """Whether a server has it."""
        return isinstance(self.address, str)

    @cached_property
    def folder(self) -> Path:
        """Where its files are on this machine: of a served one, those of its cache."""
        if isinstance(self.address, Path):
            return self.address
        from registry.client.store import cache_of

        return cache_of(ServerAddress.parse(self.address))

    def require_folder(self, verb: str) -> None:
        """Refuse what only the host does that has the files.

        Raises:
            OnServerAlone
        """
        if isinstance(self.address, str):
            raise OnServerAlone(verb, self.address)

    @property
    def catalog(self) -> CatalogProtocol:
        """What is known of the versions.

        Raises:
            NoRegistry, DatabaseMissing: as ``database``.
        """
        return self.database if self._served is None else self._served.catalog

    @cached_property
    def _served(self) -> Served | None:
        if isinstance(self.address, Path):
            return None
        from registry.client.served import Served

        return Served(ServerAddress.parse(self.address))

    @property
    def database(self) -> Catalog:
        """The catalog with all that can be done to its file; migrated, if need be, when it is opened.

        Raises:
            NoRegistry: there is none, or no more; to ask makes none.
            DatabaseMissing: there is none, and there was one.
            OnServerAlone: the home is a server's.
        """
        return self._open(make=False)

    def make(self) -> CatalogProtocol:
        """Return the catalog to write to, made where there is none: what stores the first version begins with this.

        Raises:
            DatabaseMissing: there was one, whose bytes a new one would take for garbage.
            HomeUnusable, HomeReadOnly: it can be neither made nor opened.
        """
        return self._open(make=True) if self._served is None else self._served.catalog

    @cached_property
    def blobs(self) -> BlobStore:
        """The bytes."""
        if self._served is not None:
            return self._served.blobs
        from registry.home.parts import open_blobs

        return open_blobs(self.folder, self.configuration, lambda: self.database)

    @cached_property
    def configuration(self) -> Configuration:
        """Where catalog and bytes are, if not in the folder.

        Raises:
            InvalidConfiguration
        """
        return configuration.read(self.folder) if self._wanted is None else self._wanted

    @property
    def cache(self) -> Path | None:
        """The folder that what is in a bucket is mapped from; None where the blobs are not in one."""
        is_in_bucket = not self.is_served and self.configuration.blobs is not None
        return self.configuration.cache_in(self.folder) if is_in_bucket else None

    @property
    def is_made(self) -> bool:
        """Whether there is a registry: what is about to make one asks, and looks for nothing in it before."""
        is_elsewhere = self.is_served or self.configuration.catalog is not None
        return is_elsewhere or self._opened_before() is not None or is_made(self.folder)

    def close(self) -> None:
        """Let go of the database or of the connections; the next verb opens them again."""
        if self._served is not None:
            self._served.close()
        if self._catalog is not None:
            self._catalog.close()
        self._catalog = None

    def resolve(self, ref: Reference | str, *, trashed: bool = False) -> Entry:
        """Return a version's entry; with ``trashed``, of one in the trash too.

        Raises:
            NoRegistry: there is no registry to look in.
            RegistryError: the reference is malformed, or names nothing; with the nearest names.
        """
        entry = self.catalog.resolve(parse(ref) if isinstance(ref, str) else ref, trashed=trashed)
        for what in entry.notices:
            self._say(what)
        return entry

    def current(self, name: str) -> str:
        """Return what the model is called now that has a name, or had it before.

        Raises:
            RegistryError: there is none.
        """
        return self._called(name, self.catalog.current(check_model_name(name)))

    def search(self, query: Query, *, trashed: bool, limit: int | None, after: str | None) -> Page:
        """Return the entries that a query asks for, by a name that the model has or had before.

        Raises:
            RegistryError: it names a model that there is not, or ``after`` is not a token of it.
        """
        if query.name is not None:
            check_model_name(query.name)
        page = self.catalog.search(query, trashed=trashed, limit=limit, after=after)
        if query.name is not None:
            self._called(query.name, page[0].name if page else self.catalog.current(query.name))
        return page

    def part(self, entry: Entry, part: str | None) -> Entry:
        """Return one part of a version by itself, in its own names; without one, the version as it is.

        Raises:
            UnknownPart: it has no such part.
            ChangedVersion: it is not what was pushed.
        """
        return entry if part is None else entry_of_part(entry, part, self.manifest(entry))

    def manifest(self, entry: Entry) -> Manifest:
        """Return where an entry's tensors are, after checking that row and manifest are what was pushed.

        Raises:
            ChangedVersion: they are not.
        """
        if isinstance(entry, PartEntry):
            return self.manifest(entry.whole).below(entry.part)
        manifest, documents = self.catalog.manifest_and_documents(entry)
        if row_fault(entry, manifest, documents) is not None:
            raise ChangedVersion(entry.ref)
        return manifest

    def tensors(
        self,
        entry: Entry,
        manifest: Manifest,
        verify: Verify = "always",
        *,
        resident: bool = False,
        progress: Progress | None = None,
    ) -> Mapping[str, torch.Tensor]:
        """Return the tensors of one of an entry's manifests, or of a part of it; with ``resident``, copied.

        Raises:
            CorruptTensors, DamagedBlob, StoreUnreadable: their bytes are not what was stored, or cannot be read.
            TrashedVersion, PurgedVersion: the version was removed and collected meanwhile.
        """
        opened = self._opened(entry, manifest, verify, resident, progress)
        opened.check(progress)
        return opened.tensors

    def pieces(self, entry: Entry, name: str, stored: StoredTensor, step: int) -> Iterator[memoryview]:
        """Read the bytes of one of an entry's tensors, without torch: ``BlobStore.pieces``.

        Raises:
            RegistryError: as ``tensors`` does, after the last piece at the latest.
        """
        with self._unless_removed(entry):
            yield from self.blobs.pieces(name, stored, step)

    def span(
        self, entry: Entry, name: str, stored: StoredTensor, begin: int, end: int, step: int
    ) -> Iterator[memoryview]:
        """Read a part of one of an entry's tensors, without torch: ``BlobStore.part``.

        Raises:
            RegistryError: as ``tensors`` does.
        """
        with self._unless_removed(entry):
            yield from self.blobs.part(name, stored, begin, end, step)

    def attachment(self, entry: Entry, kind: str, verify: Verify = "always") -> StoredAttachment | None:
        """Return what an entry keeps beside its weights (``"training"``, ``"example"``), or None.

        Raises:
            RegistryError: as ``tensors`` does.
        """
        from registry.attachments.attachment import StoredAttachment, values_of

        manifest = self.document(entry, kind)
        if manifest is None:
            return None
        return StoredAttachment(self.tensors(entry, manifest, verify), values_of(manifest))

    def document(self, entry: Entry, kind: str) -> Manifest | None:
        """Return the manifest of what an entry keeps beside its weights, its tensors where they lie here, or None."""
        found = {each: self.catalog.document(entry, each) for each in (kind, PLACES)}
        return decode_documents({each: body for each, body in found.items() if body is not None}).get(kind)

    def open(
        self, entry: Entry, verify: LoadVerify = "always", *, resident: bool = False, progress: Progress | None = None
    ) -> OpenedVersion:
        """Return an entry with its weights mapped, or with ``resident`` copied, and their check begun.

        Args:
            verify: with ``"outputs"``, every byte is hashed.
            progress: called with (bytes done, bytes in all) while they are fetched, where they are elsewhere.

        Raises:
            RegistryError: as ``tensors`` does, but for the bytes, which its ``check`` waits for.
        """
        manifest = self.manifest(entry)
        opened = self._opened(entry, manifest, "always" if verify == "outputs" else verify, resident, progress)
        recorded = self.recorded_class(entry)
        return OpenedVersion(entry, manifest, opened.tensors, opened.check, verify != "never", recorded)

    def recorded_class(self, entry: Entry) -> Recorded | None:
        """Return the class that an entry names, with what speaks for it; None if it names none."""
        if entry.model_class is None:
            return None
        from registry.modules.building.trust import Recorded

        # A push from a file knows no class but a named one; of a live model the document says so, and once the proof.
        documents = (self.catalog.document(entry, kind) for kind in ("factory", "build"))
        was_named = entry.source_format != "live" or any(documents)
        origin = entry.copied_from or (self.address if isinstance(self.address, str) else None)
        server = self.database.where if not self.is_served and self.configuration.catalog is not None else None
        return Recorded(entry.ref, entry.model_class, origin, self.folder, was_named, server)

    def _open(self, *, make: bool) -> Catalog:
        self.require_folder("db")
        catalog = self._opened_before()
        if catalog is None:
            if not self.is_made:
                if has_bytes(self.folder):
                    raise DatabaseMissing(str(self.folder), self._source)
                if not make:
                    raise NoRegistry(str(self.folder), self._source)
            catalog = self._catalog = Catalog(self.configuration.address() or self.folder)
        return catalog

    def _opened_before(self) -> Catalog | None:
        """Return the catalog that is open, unless its home was deleted meanwhile."""
        return self._catalog if self._catalog is not None and self._catalog.is_there else None

    def _called(self, name: str, now: str) -> str:
        """Return what a model is called now, and tell whoever asked for it by a name that it had before."""
        if now != name:
            self._say(notice(name, now))
        return now

    def _say(self, what: str) -> None:
        if self._notify is not None and what not in self._notices:
            self._notices.add(what)
            self._notify(what)

    def _opened(
        self, entry: Entry, manifest: Manifest, verify: Verify, resident: bool, progress: Progress | None
    ) -> OpenedWeights:
        with self._unless_removed(entry):
            return self.blobs.open(manifest, verify=verify, resident=resident, progress=progress)

    @contextlib.contextmanager
    def _unless_removed(self, entry: Entry) -> Iterator[None]:
        try:
            yield
        except DamagedBlob:
            self.catalog.resolve(entry.ref)  # raises if it was removed and collected meanwhile, which is no damage
            raise
