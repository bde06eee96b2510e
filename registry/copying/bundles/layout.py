"""Which tensors of some versions go into which file of a bundle: each once, and none that they do not need. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry.blobs.layout import blob_digest, ordered
from registry.catalog.parcel import Parcel
from registry.tensors.manifest import Location, Manifest, StoredTensor
from registry.tensors.safetensors import TensorExtent, header


@dataclass(frozen=True)
class PlannedBlob:
    """A file of tensors that is to be written."""

    digest: str
    head: bytes
    tensors: Mapping[str, StoredTensor]
    """By the names in it, one behind the other; where they lie now."""

    @property
    def size(self) -> int:
        return len(self.head) + sum(stored.spec.nbytes for stored in self.tensors.values())


@dataclass
class Packing:
    """Where the tensors of the versions so far will lie."""

    places: dict[str, Location] = field(default_factory=dict)
    """By digest."""

    def pack(self, parcel: Parcel) -> list[PlannedBlob]:
        """Return the files that a version adds: one of its weights, one of each document, with what is new in them."""
        planned = (self._planned(manifest) for manifest in (parcel.manifest, *parcel.attached.values()))
        return [blob for blob in planned if blob is not None]

    def _planned(self, manifest: Manifest) -> PlannedBlob | None:
        fresh: dict[str, tuple[str, StoredTensor]] = {}
        for name, stored in manifest.tensors.items():
            if stored.digest not in self.places:
                fresh.setdefault(stored.digest, (name, stored))
        if not fresh:
            return None
        found = list(fresh.values())
        found = [found[position] for position in ordered([stored.spec for _, stored in found])]
        slots: list[TensorExtent] = []
        at = 0
        for name, stored in found:
            slots.append(TensorExtent(name, stored.spec, at))
            at = slots[-1].end
        head = header(slots)
        digest = blob_digest(head, [stored.digest for _, stored in found])
        for slot, (_, stored) in zip(slots, found, strict=True):
            self.places[stored.digest] = Location(digest, len(head) + slot.offset)
        return PlannedBlob(digest, head, dict(found))
