"""A whole registry taken to another place: its bytes, its rows, and then everybody who looks for it.

The bytes come first, as in a push. Under the lock of what is left are copied those of the last moment and the rows,
which are checked on the other side; from then on this side refuses changes. Killed anywhere, the same call goes on.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from registry.blobs.store import BlobStore, Transfer
from registry.blobs.writer import Progress
from registry.catalog.catalog import Catalog
from registry.catalog.relocation import Standing, are_one, relocate, standing
from registry.errors.blobs import DamagedBlob
from registry.errors.moving import SamePlace
from registry.home import configuration
from registry.home.configuration import FILE, Configuration
from registry.home.home import Home
from registry.home.place import home_place


@dataclass(frozen=True)
class MoveReport:
    """What was moved where."""

    source: str
    """The folder of the home; what it had is left there."""
    target: str
    """The folder of the home that it became."""
    catalog: str
    """Where the catalog is now."""
    versions: int
    """All that are there now, those in the trash included."""
    blobs: int
    """How many were copied; what was there already was not."""
    nbytes: int


def move(home: Home, to: str | os.PathLike[str], progress: Progress | None = None) -> MoveReport:
    """Take a registry to another home, which is empty or was made with ``init``.

    Raises:
        SamePlace, OtherRegistry: the other home is this one, or has a registry of its own.
        DamagedBlob: bytes that a version needs are not what they were; nothing was switched.
        UnmovableRow, NotTheSame: the catalog cannot be moved as it is; nothing was switched.
        RegistryError: of either side.
    """
    target = Home(home_place(to).folder)
    source = home.database
    target.make()
    there = target.database
    try:
        if are_one(source, there):
            raise SamePlace(str(target.folder))
        standing(source, there)
        with target.blobs.transfer() as transfer:
            copied = _Copied(home.blobs, target.blobs, transfer, progress)
            copied.take(source)
            with source.write_lock():
                if standing(source, there) is Standing.BEFORE:
                    copied.take(source)
                relocate(source, there, str(target.folder))
        _lead_to(home.folder, target.folder)
        versions = there.count() + there.count(trashed=True)
        return MoveReport(
            str(home.folder), str(target.folder), there.where, versions, len(copied.blobs), sum(copied.blobs.values())
        )
    finally:
        target.close()
        home.close()


class _Copied:
    """The blobs of one home as they come to another one."""

    def __init__(
        self, source: BlobStore, target: BlobStore, transfer: Transfer, progress: Progress | None = None
    ) -> None:
        self._source = source
        self._target = target
        self._transfer = transfer
        self._progress = progress or (lambda done, total: None)
        self._seen: set[str] = set()
        self.blobs: dict[str, int] = {}
        """Those that were copied, with their bytes."""

    def take(self, catalog: Catalog) -> None:
        """Copy what is missing of what a catalog knows.

        Raises:
            DamagedBlob: a version needs one that is not what it was.
        """
        known, needed = catalog.known_blobs(), catalog.referenced_blobs()
        missing = [blob for blob in sorted(known.keys() | needed) if blob not in self._seen and self._is_missing(blob)]
        total, done = sum(known.get(blob, 0) for blob in missing), 0
        for blob in missing:
            if self._source.is_in_place(blob) or blob in needed:
                self.blobs[blob] = self._rebuild(blob)
            done += known.get(blob, 0)
            self._progress(done, total)
        self._seen.update(known, needed)

    def _is_missing(self, blob: str) -> bool:
        return not self._target.is_in_place(blob)

    def _rebuild(self, blob: str) -> int:
        """Make one again from its tensors, each of which is verified, under the very same name."""
        layout = self._source.layout(blob, ())
        if layout is None:
            raise DamagedBlob(blob, "is missing or damaged")
        tensors = tuple(layout.tensors(blob))
        self._transfer.rebuild(blob, layout, self._source.copies(tensors))
        return max((tensor.location.offset + tensor.spec.nbytes for tensor in tensors), default=layout.start)


def _lead_to(left: Path, target: Path) -> None:
    """Have a home's folder name the home that it became; its configuration, if it had one, is kept beside."""
    if not left.is_dir():
        return
    if (left / FILE).exists():
        shutil.copy2(left / FILE, left / f"{FILE}.moved")
    configuration.write(left, Configuration(moved_to=str(target)))
