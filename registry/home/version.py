"""What a version holds, opened: its manifest, its tensors, what is beside them; each compared with what was stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from registry.catalog.blobs import decode
from registry.catalog.catalog import Catalog
from registry.catalog.entry import Entry
from registry.catalog.record import row_fault
from registry.errors.blobs import DamagedBlob
from registry.errors.catalog import ChangedVersion
from registry.modules.building.trust import Recorded

if TYPE_CHECKING:
    import torch

    from registry.attachments.attachment import Enclosed
    from registry.blobs.mapping import OpenedWeights
    from registry.blobs.store import BlobStore
    from registry.tensors.manifest import Manifest

Verify = Literal["always", "once", "never"]


@dataclass(frozen=True)
class OpenedVersion:
    """An entry with its weights, mapped and being checked."""

    entry: Entry
    manifest: Manifest
    tensors: Mapping[str, torch.Tensor]
    check: Callable[[], None]
    """Waits until every byte is checked, and raises if one is not as it was stored."""
    verified: bool
    """Whether ``check`` checks anything."""
    recorded: Recorded | None
    """The class that the entry names."""


def recorded_class(catalog: Catalog, home: Path, entry: Entry) -> Recorded | None:
    """Return the class that an entry names, with what speaks for it; None if it names none."""
    if entry.model_class is None:
        return None
    # A push from a file knows no class but a named one; of a live model the document says so, and once the proof did.
    was_named = entry.source_format != "live" or any(catalog.document(entry, kind) for kind in ("factory", "build"))
    return Recorded(entry.ref, entry.model_class, entry.origin, home, was_named)


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
        from registry.attachments.attachment import Enclosed, values_of

        body = self.catalog.document(entry, kind)
        if body is None:
            return None
        manifest = decode(body)
        return Enclosed(self.tensors(entry, manifest, verify), values_of(manifest))

    def open(self, entry: Entry, verify: Verify, *, resident: bool = False) -> OpenedVersion:
        """Return an entry with its weights mapped, or with ``resident`` copied, and their check begun.

        Raises:
            RegistryError: as ``tensors`` does, but for the bytes, which its ``check`` waits for.
        """
        manifest = self.manifest(entry)
        opened = self._open(entry, manifest, verify, resident)
        recorded = recorded_class(self.catalog, self.store.home, entry)
        return OpenedVersion(entry, manifest, opened.tensors, opened.check, verify != "never", recorded)

    def _open(self, entry: Entry, manifest: Manifest, verify: Verify, resident: bool) -> OpenedWeights:
        try:
            return self.store.open(manifest, verify=verify, resident=resident)
        except DamagedBlob:
            self.catalog.resolve(entry.ref)  # raises if it was removed and collected meanwhile, which is no damage
            raise
