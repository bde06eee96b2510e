"""Taking versions into a home: of each the bytes first, only those that are missing, and then its rows at once."""

from __future__ import annotations

from functools import partial

from registry.blobs.store import Transfer
from registry.blobs.writer import Progress
from registry.catalog.arrivals import Arrived, Whereabouts
from registry.catalog.parcel import Parcel
from registry.copying.shelf import Listed, Shelf
from registry.errors.blobs import CorruptTensors
from registry.home.home import Home
from registry.home.staying import confirm_stored, until_it_stays
from registry.tensors.manifest import BlobRecord, Manifest


class Intake:
    """A home that versions are taken into.

    Args:
        name: the model's name here, instead of its own.
        update: where a version is here already and differs, take what it is there.
    """

    def __init__(self, home: Home, *, name: str | None, update: bool) -> None:
        self._home = home
        self.name = name
        self._update = update
        self.nbytes = 0
        """Bytes of tensors that were moved."""

    def take(self, shelf: Shelf, listed: Listed, parcel: Parcel, progress: Progress) -> Arrived:
        """Take a version in, or add to the same one here what is missing.

        Raises:
            RegistryError: it is not here, and nothing of it but perhaps bytes that a collection takes.
        """
        copies = self._home.make().copies

        def attempt() -> Arrived:
            if (met := copies.meet(parcel, shelf.place, update=self._update)) is not None:
                return met
            with self._home.blobs.transfer() as transfer:
                here = self._moved(transfer, shelf, listed, parcel, progress)
                return copies.take_in(
                    parcel,
                    shelf.place,
                    here,
                    name=self.name,
                    update=self._update,
                    confirm=partial(confirm_stored, transfer, tuple(here.new_blobs)),
                )

        return until_it_stays(attempt)

    def _moved(
        self, transfer: Transfer, shelf: Shelf, listed: Listed, parcel: Parcel, progress: Progress
    ) -> Whereabouts:
        new_blobs: dict[BlobRecord, None] = {}
        unsound: set[str] = set()

        def moved(manifest: Manifest, progress: Progress | None = None) -> Manifest:
            stored = transfer.write(
                {name: shelf.tensor(listed, name, each) for name, each in manifest.tensors.items()},
                self._home.catalog.locate,
                progress,
                expected={name: each.digest for name, each in manifest.tensors.items()},
            )
            new_blobs.update(dict.fromkeys(stored.new_blobs))
            unsound.update(stored.unsound)
            for name, each in manifest.tensors.items():
                if stored.tensors[name].digest != each.digest:
                    raise CorruptTensors(each.location.blob, [name])
            return manifest.relocated({each.digest: each.location for each in stored.tensors.values()})

        # In blobs of their own, as a push keeps them.
        beside = {kind: moved(document) for kind, document in parcel.attached.items()}
        manifest = moved(parcel.manifest, progress)
        self.nbytes += sum(blob.nbytes for blob in new_blobs)
        return Whereabouts(manifest, beside, tuple(new_blobs), unsound)
