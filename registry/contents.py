"""What a version holds, opened: its manifest, its tensors, what is beside them; each compared with what was stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from registry.catalog.blobs import decode
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.record import row_fault
from registry.errors.blobs import DamagedBlob
from registry.errors.catalog import ChangedVersion

if TYPE_CHECKING:
    import torch

    from registry.blobs.manifest import Manifest
    from registry.blobs.mapping import OpenedWeights
    from registry.blobs.store import BlobStore
    from registry.delivery import Parcel
    from registry.enclosure import Enclosed

Verify = Literal["always", "once", "never"]


@dataclass(frozen=True)
class Contents:
    """The versions of one home, from the inside."""

    catalog: Catalog
    store: BlobStore

    def manifest(self, entry: Entry) -> Manifest:
        """Return where an entry's tensors are, after checking that row and manifest are what was pushed.

        Raises:
            ChangedVersion: they are not.
        """
        manifest = self.catalog.manifest(entry)
        if row_fault(entry, manifest, self.catalog.documents(entry)) is not None:
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
        opened = self._open(entry, manifest, verify, resident)
        opened.check()
        return opened.tensors

    def enclosed(self, entry: Entry, kind: str, verify: Verify = "always") -> Enclosed | None:
        """Return what an entry keeps beside its weights (``"training"``, ``"example"``), or None.

        Raises:
            RegistryError: as ``tensors`` does.
        """
        from registry.enclosure import Enclosed, values_of

        body = self.catalog.document(entry, kind)
        if body is None:
            return None
        manifest = decode(body)
        return Enclosed(self.tensors(entry, manifest, verify), values_of(manifest))

    def parcel(self, entry: Entry, verify: Verify, *, resident: bool = False) -> Parcel:
        """Return an entry with its weights mapped, or with ``resident`` copied, and their check begun.

        Raises:
            RegistryError: as ``tensors`` does, but for the bytes, which the parcel's ``check`` waits for.
        """
        from registry.delivery import Parcel, recorded_class

        manifest = self.manifest(entry)
        opened = self._open(entry, manifest, verify, resident)
        recorded = recorded_class(self.catalog, self.store.home, entry)
        return Parcel(entry, manifest, opened.tensors, opened.check, verify != "never", recorded)

    def _open(self, entry: Entry, manifest: Manifest, verify: Verify, resident: bool) -> OpenedWeights:
        try:
            return self.store.open(manifest, verify=verify, resident=resident)
        except DamagedBlob:
            self.catalog.resolve(entry.ref)  # raises if it was removed and collected meanwhile, which is no damage
            raise
