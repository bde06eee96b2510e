"""The store whose blobs are objects elsewhere, behind a cache on a disk of this machine, since loads need a mapping.

What the cache lacks is fetched, hashed as a whole, and mapped. A push writes into the cache, puts the object, and then
commits. An object cannot be renamed, so a collection does not mark it by that: it names it in a lease, which every push
sees that would commit it.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.blobs.backends.local import LocalStore, worded
from registry.blobs.collection import Garbage
from registry.blobs.examination import examine
from registry.blobs.leases import Lease
from registry.blobs.objects import ObjectBackend, StoredObject
from registry.blobs.rebuilding import BlobLayout, copies_in_place, layout_of
from registry.blobs.sharing import Locate
from registry.blobs.store import BlobStore, Examined, Known, Sweep, Transfer, Verify
from registry.blobs.writer import Progress, Stored
from registry.disk.folders import make_folder
from registry.errors.blobs import DamagedBlob, ObjectsUnreachable, StoreUnwritable
from registry.errors.root import RegistryError
from registry.tensors.manifest import BlobRecord, Location, Manifest, StoredTensor
from registry.tensors.source import TensorBytes, TensorSource

if TYPE_CHECKING:
    from registry.blobs.mapping import OpenedWeights

YOUNG_SECONDS = 24 * 3600.0
"""How long an object stays that nobody needs: longer than a push takes whose leases are not seen here."""

PATIENCE_SECONDS = 60.0
"""How long a put waits for a collection that deletes an object of its name."""


class CachedStore(BlobStore):
    """Objects behind a cache.

    Args:
        cache: where they are mapped. Its leases must be those of all who change the same catalog.
        objects: where they are.
        young_seconds: how old an object is that a collection may take.
    """

    def __init__(self, cache: LocalStore, objects: ObjectBackend, *, young_seconds: float = YOUNG_SECONDS) -> None:
        self._cache = cache
        self._objects = objects
        self._young_seconds = young_seconds

    @contextlib.contextmanager
    def transfer(self, began: Callable[[], None] = lambda: None) -> Iterator[CachedTransfer]:
        with self._cache.transfer(began) as transfer:
            yield CachedTransfer(self, transfer)

    def open(
        self, manifest: Manifest, verify: Verify = "always", *, resident: bool = False, progress: Progress | None = None
    ) -> OpenedWeights:
        for blob in sorted(manifest.blobs):
            self.fetch(blob)
        return self._cache.open(manifest, verify, resident=resident)

    def pieces(self, name: str, stored: StoredTensor, step: int) -> Iterator[memoryview]:
        self.fetch(stored.location.blob)
        yield from self._cache.pieces(name, stored, step)

    def part(self, name: str, stored: StoredTensor, begin: int, end: int, step: int) -> Iterator[memoryview]:
        self.fetch(stored.location.blob)
        yield from self._cache.part(name, stored, begin, end, step)

    def faults(self, manifest: Manifest, known: Known) -> dict[str, list[str]]:
        refused = {}
        for blob in manifest.blobs:
            try:
                self.fetch(blob)
            except RegistryError as error:
                refused[blob] = [str(error)]
        return self._cache.faults(manifest, known) | refused

    def examine_blob(self, blob: str, known: Known) -> Examined:
        try:
            self.fetch(blob)
            examined = self._cache.examine_blob(blob, known)
            if examined.fault is None and not self.has(blob):
                return Examined(f"is missing in {self._objects}")
        except RegistryError as error:
            return Examined(str(error))
        return examined

    def is_in_place(self, blob: str) -> bool:
        return self._cache.is_in_place(blob) or self.has(blob)

    def misfits(self, known: Mapping[str, int]) -> tuple[str, ...]:
        sizes = {found.digest: found.nbytes for found in self._listed()}
        cached = {blob: nbytes for blob, nbytes in known.items() if self._cache.is_in_place(blob)}
        bad = set(self._cache.misfits(cached))
        return tuple(blob for blob, nbytes in known.items() if blob in bad or sizes.get(blob) != nbytes)

    def layout(self, blob: str, manifests: Sequence[Manifest]) -> BlobLayout | None:
        if (found := self._cache.layout(blob, manifests)) is not None:
            return found
        with self._copy_of(blob) as path:
            return layout_of(path, blob, manifests)

    def copies(self, lost: Collection[StoredTensor]) -> dict[str, TensorBytes]:
        found = self._cache.copies(lost)
        left = [stored for stored in lost if stored.digest not in found]
        for blob in sorted({stored.location.blob for stored in left}):
            with self._copy_of(blob) as path:
                inside = [stored for stored in left if stored.location.blob == blob]
                found.update(copies_in_place({blob: path}.__getitem__, inside))
        return found

    def quarantine(self, blob: str, *, keep: bool = False) -> str | None:
        """Move a bad blob of the cache out of the way, or, where that has none, keep what the object holds.

        The object itself stays until another is put in its place, or a collection takes it.
        """
        if (name := self._cache.quarantine(blob, keep=keep)) is not None:
            return name
        with self._copy_of(blob) as path:
            return self._cache.set_aside(path, f"{blob}.safetensors")

    def garbage(self, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        # As in the cache: what is there is listed before the running pushes are asked, and these before the catalog.
        listed = list(self._listed())
        stay = {found.digest for found in listed if found.age_seconds < self._young_seconds}
        stay |= self._cache.leases.held().blobs

        def wanted() -> Collection[str]:
            stay.update(needed())
            return stay

        garbage = {item.name: item for item in self._cache.garbage(wanted)}
        for found in listed:
            if found.digest not in stay:
                name = self._cache.name(found.digest)
                garbage.setdefault(name, Garbage(name, found.nbytes, found.digest))
        return tuple(garbage.values())

    @contextlib.contextmanager
    def sweep(self) -> Iterator[CachedSweep]:
        lease = self._cache.leases.lease()
        try:
            with self._cache.sweep() as sweep:
                yield CachedSweep(sweep, lease, self._objects)
        finally:
            with contextlib.suppress(OSError):
                lease.release()

    def size(self) -> int:
        return sum(found.nbytes for found in self._listed())

    def free_bytes(self) -> int:
        return self._cache.free_bytes()

    def seconds_ahead(self) -> float:
        return self._cache.seconds_ahead()

    # The objects

    def has(self, blob: str) -> bool:
        """Whether there is an object of a blob.

        Raises:
            ObjectsUnreachable
        """
        with reached(self._objects):
            return self._objects.has(blob)

    def put(self, blob: str) -> None:
        """Put a blob of the cache, once no collection is about to delete one of its name.

        Also where there is one: it may be an orphan, which is young again then. Of what a collection has taken from the
        cache meanwhile nothing is put; to be committed, it is ``missing``.

        Raises:
            ObjectsUnreachable, StoreUnwritable
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while blob in self._cache.leases.held().doomed:
            if time.monotonic() > until:
                raise StoreUnwritable(str(self._objects), "a collection does not come to an end", None)
            time.sleep(0.02)
        with worded(self._objects), reached(self._objects):
            try:
                self._objects.put(blob, self._cache.places.blob(blob))
            except FileNotFoundError:
                if self._cache.is_in_place(blob):
                    raise

    def missing(self, blobs: Iterable[str]) -> list[str]:
        """Return those blobs that have no object, or will have none; asked under the catalog's lock."""
        # The leases first: a collection lets go of its own only when all it has marked is deleted.
        doomed = self._cache.leases.held().doomed
        return [blob for blob in blobs if blob in doomed or not self.has(blob)]

    def fetch(self, blob: str) -> None:
        """Bring a blob into the cache, where it is not there; nothing, where there is no object.

        Raises:
            DamagedBlob: the object holds something else.
            ObjectsUnreachable, StoreUnwritable
        """
        if self._cache.is_in_place(blob):
            return
        with self._copy_of(blob) as path:
            if path.exists():
                fault = examine(path, blob, {})[0].fault
                if fault is not None:
                    raise DamagedBlob(blob, fault)
                self._cache.adopt(path, blob)

    @contextlib.contextmanager
    def _copy_of(self, blob: str) -> Iterator[Path]:
        """Give a temporary file with the bytes of an object, unchecked; there is no file where there is no object."""
        lease = self._cache.leases.lease()
        path = self._cache.places.temporary / f"{lease.id}.part"
        try:
            with worded(path.parent):
                make_folder(path.parent)
                lease.claim(blob)
            with reached(self._objects), contextlib.suppress(FileNotFoundError):
                self._objects.fetch(blob, path)
            yield path
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                lease.release()

    def _listed(self) -> Iterator[StoredObject]:
        with reached(self._objects):
            yield from self._objects.list()


class CachedTransfer(Transfer):
    """One push while it stores its tensors in the cache, and then as objects."""

    def __init__(self, store: CachedStore, transfer: Transfer) -> None:
        self._store = store
        self._transfer = transfer
        self._lacking: dict[str, bool] = {}
        """Whether a blob that may be shared has no object."""

    def write(
        self,
        tensors: Mapping[str, TensorSource],
        locate: Locate,
        progress: Progress | None = None,
        *,
        expected: Mapping[str, str] | None = None,
    ) -> Stored:
        stored = self._transfer.write(tensors, partial(self._at_hand, locate), progress, expected=expected)
        for blob in stored.new_blobs:
            self._store.put(blob.digest)
        return replace(stored, unsound=stored.unsound.union(b for b, is_lacking in self._lacking.items() if is_lacking))

    def rebuild(self, blob: str, layout: BlobLayout, sources: Mapping[str, TensorSource]) -> None:
        self._transfer.rebuild(blob, layout, sources)
        self._store.put(blob)

    def missing(self, blobs: Iterable[BlobRecord]) -> list[str]:
        return self._store.missing(blob.digest for blob in blobs)

    def _at_hand(self, locate: Locate, digests: Iterable[str]) -> Mapping[str, Location]:
        """Find tensors in blobs that are objects still, and bring these into the cache, to be looked at there.

        What cannot be had in one piece is missing there, and is written again.
        """
        located = locate(digests)
        for blob in {location.blob for location in located.values()} - self._lacking.keys():
            self._lacking[blob] = not self._store.has(blob)
            with contextlib.suppress(DamagedBlob):
                self._store.fetch(blob)
        return {digest: location for digest, location in located.items() if not self._lacking[location.blob]}


class CachedSweep(Sweep):
    """One collection of the garbage of a cache and of its objects."""

    def __init__(self, sweep: Sweep, lease: Lease, objects: ObjectBackend) -> None:
        self._sweep = sweep
        self._lease = lease
        self._objects = objects
        self._doomed: dict[str, int] = {}

    def mark(self, garbage: Collection[Garbage]) -> None:
        self._doomed = {item.blob: item.nbytes for item in garbage if item.blob is not None}
        if self._doomed:
            with worded("the leases"):
                self._lease.doom(self._doomed)
        self._sweep.mark(garbage)

    def delete(self, progress: Progress | None = None) -> None:
        self._sweep.delete()
        total, done = sum(self._doomed.values()), 0
        for blob, nbytes in self._doomed.items():
            with worded(self._objects), reached(self._objects):
                self._objects.delete(blob)
            done += nbytes
            if progress is not None:
                progress(done, total)


@contextlib.contextmanager
def reached(objects: ObjectBackend) -> Iterator[None]:
    """Say as an error of ours what a backend refuses; an object or a file that is not there is the caller's to word.

    Raises:
        ObjectsUnreachable
        StoreUnwritable: a disk is full, or read-only.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StoreUnwritable(error.filename or str(objects), reason, error.errno) from error
        raise ObjectsUnreachable(str(objects), reason) from error
