"""One registry's catalog and bytes together, and what its versions hold; each compared with what was stored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from registry.catalog.blobs import PLACES, decode_documents
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.record import row_fault
from registry.errors.blobs import DamagedBlob
from registry.errors.catalog import ChangedVersion
from registry.home.version import OpenedVersion
from registry.modules.building.trust import Recorded

if TYPE_CHECKING:
    import torch

    from registry.attachments.attachment import StoredAttachment
    from registry.blobs.mapping import OpenedWeights
    from registry.blobs.store import BlobStore, Verify
    from registry.catalog.protocol import CatalogProtocol
    from registry.tensors.manifest import Manifest, StoredTensor


class Home:
    """A catalog and the bytes that it tells of, opened when they are first used; safe under threads and forks.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalog: Catalog | None = None

    @property
    def catalog(self) -> CatalogProtocol:
        """What is known of the versions."""
        return self.database

    @property
    def database(self) -> Catalog:
        """The catalog with all that can be done to its file; migrated, if need be, when it is opened.

        A home that was deleted is made again by the next verb, never in the middle of one.
        """
        catalog = self._catalog
        if catalog is None or not catalog.is_there:
            catalog = self._catalog = Catalog(self.folder)
        return catalog

    @cached_property
    def blobs(self) -> BlobStore:
        """The bytes."""
        from registry.blobs.backends.local import LocalStore

        return LocalStore(self.folder)

    def close(self) -> None:
        """Let go of the database; the next verb opens it again."""
        if self._catalog is not None:
            self._catalog.close()
        self._catalog = None

    def resolve(self, ref: str) -> Entry:
        """Return a version's entry.

        Raises:
            RegistryError: the reference is malformed, or names nothing; with the nearest names.
        """
        return self.catalog.resolve(ref)

    def manifest(self, entry: Entry) -> Manifest:
        """Return where an entry's tensors are, after checking that row and manifest are what was pushed.

        Raises:
            ChangedVersion: they are not.
        """
        manifest, documents = self.catalog.manifest_and_documents(entry)
        if row_fault(entry, manifest, documents) is not None:
            raise ChangedVersion(entry.ref)
        return manifest

    def tensors(
        self, entry: Entry, manifest: Manifest, verify: Verify = "always", *, resident: bool = False
    ) -> Mapping[str, torch.Tensor]:
        """Return the tensors of one of an entry's manifests, or of a part of it; with ``resident``, copied.

        Raises:
            CorruptTensors, DamagedBlob, StoreUnreadable: their bytes are not what was stored, or cannot be read.
            TrashedVersion, PurgedVersion: the version was removed and collected meanwhile.
        """
        opened = self._opened(entry, manifest, verify, resident)
        opened.check()
        return opened.tensors

    def pieces(self, entry: Entry, name: str, stored: StoredTensor, step: int) -> Iterator[memoryview]:
        """Read the bytes of one of an entry's tensors, without torch: ``BlobStore.pieces``.

        Raises:
            RegistryError: as ``tensors`` does, after the last piece at the latest.
        """
        with self._unless_removed(entry):
            yield from self.blobs.pieces(name, stored, step)

    def attachment(self, entry: Entry, kind: str, verify: Verify = "always") -> StoredAttachment | None:
        """Return what an entry keeps beside its weights (``"training"``, ``"example"``), or None.

        Raises:
            RegistryError: as ``tensors`` does.
        """
        from registry.attachments.attachment import StoredAttachment, values_of

        found = {each: self.catalog.document(entry, each) for each in (kind, PLACES)}
        documents = decode_documents({each: body for each, body in found.items() if body is not None})
        if kind not in documents:
            return None
        manifest = documents[kind]
        return StoredAttachment(self.tensors(entry, manifest, verify), values_of(manifest))

    def open(self, entry: Entry, verify: Verify = "always", *, resident: bool = False) -> OpenedVersion:
        """Return an entry with its weights mapped, or with ``resident`` copied, and their check begun.

        Raises:
            RegistryError: as ``tensors`` does, but for the bytes, which its ``check`` waits for.
        """
        manifest = self.manifest(entry)
        opened = self._opened(entry, manifest, verify, resident)
        recorded = self.recorded_class(entry)
        return OpenedVersion(entry, manifest, opened.tensors, opened.check, verify != "never", recorded)

    def recorded_class(self, entry: Entry) -> Recorded | None:
        """Return the class that an entry names, with what speaks for it; None if it names none."""
        if entry.model_class is None:
            return None
        # A push from a file knows no class but a named one; of a live model the document says so, and once the proof.
        documents = (self.catalog.document(entry, kind) for kind in ("factory", "build"))
        was_named = entry.source_format != "live" or any(documents)
        return Recorded(entry.ref, entry.model_class, entry.copied_from, self.folder, was_named)

    def _opened(self, entry: Entry, manifest: Manifest, verify: Verify, resident: bool) -> OpenedWeights:
        with self._unless_removed(entry):
            return self.blobs.open(manifest, verify=verify, resident=resident)

    @contextlib.contextmanager
    def _unless_removed(self, entry: Entry) -> Iterator[None]:
        try:
            yield
        except DamagedBlob:
            self.catalog.resolve(entry.ref)  # raises if it was removed and collected meanwhile, which is no damage
            raise
