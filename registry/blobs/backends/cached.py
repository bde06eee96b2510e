"""The store whose blobs are objects elsewhere, behind a cache on a disk of this machine, since loads need a mapping.

What the cache lacks is fetched, hashed as a whole, and mapped. A push writes into the cache, puts the object, and then
commits. An object cannot be renamed, so a collection does not mark it by that: it names it in a lease, which every push
sees that would commit it.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.blobs.backends.fetching import Report, abandoned, fetch
from registry.blobs.backends.local import LocalStore, LocalTransfer, worded
from registry.blobs.backends.reaching import reached
from registry.blobs.backends.shared_objects import SharedObjects
from registry.blobs.backends.streaming import Streamed, specs_in, stream, stream_all
from registry.blobs.collection import Garbage
from registry.blobs.examination import examine
from registry.blobs.leases import Lease
from registry.blobs.objects import Moved, ObjectBackend, StoredObject, unmoved
from registry.blobs.rebuilding import BlobLayout, copies_in, copies_in_place, layout_of
from registry.blobs.running import FileLeases
from registry.blobs.shared_leases import LEASE_SECONDS
from registry.blobs.sharing import Locate
from registry.blobs.store import BlobStore, Elsewhere, Examined, Known, Sweep, Transfer, Verify
from registry.blobs.verification import Hashed
from registry.blobs.writer import Progress, Stored
from registry.disk.folders import make_folder
from registry.errors.blobs import DamagedBlob, StoreUnwritable
from registry.errors.objects import LeaseLost
from registry.tensors.manifest import BlobRecord, Manifest, StoredTensor
from registry.tensors.source import TensorBytes, TensorSource
from registry.tensors.spec import is_digest

if TYPE_CHECKING:
    from registry.blobs.mapping import OpenedWeights

YOUNG_SECONDS = 24 * 3600.0
"""How long an object stays that nobody needs: longer than a push takes whose leases are not seen here."""

PATIENCE_SECONDS = 2.0 * LEASE_SECONDS
"""How long a put waits for a collection that deletes an object of its name: one that was killed has lost its lease."""

_LATE_SECONDS = YOUNG_SECONDS / 24
"""How old an object is at most that a push of the same bytes takes for put: it stays until that is committed."""


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
        self._here = FileLeases(cache.places.running)
        self._streamed: Mapping[str, Streamed] = {}

    @contextlib.contextmanager
    def transfer(self, began: Callable[[], None] = lambda: None) -> Iterator[Transfer]:
        self._make_cache()
        lease = self._cache.leases.lease()
        sharing = partial(SharedObjects, self._cache, self._objects)
        try:
            yield CachedTransfer(self, LocalTransfer(self._cache.places, lease, began, sharing))
        finally:
            with contextlib.suppress(OSError):
                lease.release()

    def open(
        self, manifest: Manifest, verify: Verify = "always", *, resident: bool = False, progress: Progress | None = None
    ) -> OpenedWeights:
        lacking = [blob for blob in manifest.blobs if not self._cache.is_in_place(blob)]
        report = Report(progress, sum(t.spec.nbytes for b in lacking for t in manifest.by_blob()[b].values()))
        with self._kept(manifest.blobs):  # so that nobody who trims the cache takes them
            fetched = {blob: self.fetch(blob, report.add) for blob in sorted(manifest.blobs)}
            hashed = {blob: found for blob, found in fetched.items() if found is not None}
            return self._cache.open_hashed(manifest, verify, hashed, resident=resident)

    def pieces(self, name: str, stored: StoredTensor, step: int) -> Iterator[memoryview]:
        self.fetch(stored.location.blob)
        yield from self._cache.pieces(name, stored, step)

    def part(self, name: str, stored: StoredTensor, begin: int, end: int, step: int) -> Iterator[memoryview]:
        self.fetch(stored.location.blob)
        yield from self._cache.part(name, stored, begin, end, step)

    def ahead(self, blobs: Callable[[], Iterable[str]], progress: Progress | None = None) -> CachedStore:
        store = copy.copy(self)
        with reached(self._objects):
            store._streamed = stream_all(self._objects, blobs(), progress)
        return store

    def faults(self, manifest: Manifest, known: Known) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for blob, tensors in manifest.by_blob().items():
            streamed = self._stream(blob)
            for name, stored in tensors.items():
                if streamed.digests.get((stored.location.offset, stored.spec)) != stored.digest:
                    if streamed.digests:
                        found.setdefault(blob, []).append(f"the bytes of '{name}' are not those that were stored")
                    else:  # no part of it can be read
                        found[blob] = [str(DamagedBlob(blob, streamed.examined.fault or "has other tensors"))]
        here = {blob for blob in manifest.by_blob() if is_digest(blob) and self._cache.is_in_place(blob)}
        cached = {name: stored for name, stored in manifest.tensors.items() if stored.location.blob in here}
        return self._cache.faults(replace(manifest, tensors=cached), known) | found

    def examine_blob(self, blob: str, known: Known) -> Examined:
        examined = self._stream(blob).examined
        if examined.fault is None and self._cache.is_in_place(blob):
            return self._cache.examine_blob(blob, known)
        return examined

    def is_in_place(self, blob: str) -> bool:
        return self.has(blob)  # what the cache has alone, no other machine can load

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
        wanted = {stored.digest: stored.spec for stored in left if stored.digest not in found}
        for blob in sorted(each.digest for each in self._listed()) if wanted else ():
            with reached(self._objects):
                is_alike = not specs_in(self._objects, blob).isdisjoint(wanted.values())
            if is_alike:
                with self._copy_of(blob) as path:
                    found.update(copies_in(path, wanted))
                wanted = {digest: spec for digest, spec in wanted.items() if digest not in found}
        return found

    def quarantine(self, blob: str, *, keep: bool = False) -> str | None:
        """Move what is bad of a blob out of the way, each where it is: the object, or the file in the cache."""
        name = None
        if self._cache.is_in_place(blob) and self._cache.examine_blob(blob, {}).fault is not None:
            name = self._cache.quarantine(blob, keep=keep)
        with reached(self._objects):
            if stream(self._objects, blob).examined.fault is not None:
                name = self._objects.set_aside(blob, keep=keep) or name
        return name

    def garbage(self, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        return self._garbage(list(self._listed()), needed)

    def _garbage(self, listed: Sequence[StoredObject], needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        # As in the cache: what is there is listed before the running pushes are asked, and these before the catalog.
        stay = {found.digest for found in listed if found.age_seconds < self._young_seconds}
        stay |= self._cache.leases.held().blobs

        def wanted() -> Collection[str]:
            stay.update(needed())
            return stay

        garbage = {item.name: item for item in (*self._cache.garbage(wanted), *abandoned(self._cache))}
        for found in listed:
            if found.digest not in stay:
                name = self._cache.name(found.digest)
                garbage.setdefault(name, Garbage(name, found.nbytes, found.digest))
        return tuple(garbage.values())

    @contextlib.contextmanager
    def sweep(self) -> Iterator[Sweep]:
        self._make_cache()
        lease = self._cache.leases.lease()
        try:
            with self._cache.sweep() as sweep:
                listed = list(self._listed())  # here, since all who push wait while the catalog is locked
                yield CachedSweep(sweep, lease, self._objects, self._young_seconds, partial(self._garbage, listed))
        finally:
            with contextlib.suppress(OSError):
                lease.release()

    def elsewhere(self) -> Elsewhere:
        began = time.monotonic()
        with reached(self._objects):
            self._objects.stat("0" * 64)
        seconds = time.monotonic() - began
        return Elsewhere(str(self._objects), seconds, str(self._cache.places.home), self._cache.size())

    def size(self) -> int:
        return sum(found.nbytes for found in self._listed())

    def free_bytes(self) -> int:
        return self._cache.free_bytes()

    def seconds_ahead(self) -> float:
        with reached(self._objects):
            return self._objects.seconds_ahead()

    # The objects

    def has(self, blob: str) -> bool:
        """Whether there is an object of a blob.

        Raises:
            DamagedBlob: its name is not a digest.
            ObjectsUnreachable
        """
        self._cache.places.blob(blob)
        with reached(self._objects):
            return self._objects.has(blob)

    def put(self, blob: str, *, afresh: bool = False) -> None:
        """Put a blob of the cache, once no collection is about to delete one of its name.

        Also where there is one that is not of late: it may be an orphan, which is young again then. Of what a
        collection has taken from the cache meanwhile nothing is put; to be committed, it is ``missing``.

        Args:
            afresh: whatever is there.

        Raises:
            ObjectsUnreachable, StoreUnwritable
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while blob in self._cache.leases.held().doomed:
            if time.monotonic() > until:
                raise StoreUnwritable(str(self._objects), "a collection does not come to an end", None)
            time.sleep(0.02)
        path = self._cache.places.blob(blob)
        with worded(self._objects), reached(self._objects):
            try:
                found = None if afresh else self._objects.stat(blob)
                if found is None or found.age_seconds > _LATE_SECONDS or found.nbytes != path.stat().st_size:
                    self._objects.put(blob, path)
            except FileNotFoundError:
                if self._cache.is_in_place(blob):
                    raise

    def missing(self, blobs: Iterable[str]) -> list[str]:
        """Return those blobs that have no object, or will have none; asked under the catalog's lock."""
        # The leases first: a collection lets go of its own only when all it has marked is deleted.
        doomed = self._cache.leases.held().doomed
        return [blob for blob in blobs if blob in doomed or not self.has(blob)]

    def fetch(self, blob: str, moved: Moved = unmoved) -> Hashed | None:
        """Bring a blob into the cache, where it is not there; nothing, where there is no object.

        Args:
            moved: called with the bytes that came since the last call.

        Returns:
            What was hashed on its way, if it came now.

        Raises:
            DamagedBlob: the object holds something else.
            ObjectsUnreachable, StoreUnwritable
        """
        self._make_cache()
        return fetch(self._cache, blob, self._receive, moved)

    def _receive(self, blob: str, handle: int, path: Path, moved: Moved) -> Examined:
        """Write an object into an open file, and say what the whole is."""
        with reached(self._objects):
            self._objects.receive(blob, handle, moved)
        return examine(path, blob, {})[0]

    def _stream(self, blob: str) -> Streamed:
        if (streamed := self._streamed.get(blob)) is None:
            with reached(self._objects):
                streamed = stream(self._objects, blob)
        return streamed

    def _make_cache(self) -> None:
        folder = self._cache.places.home
        with worded(folder):
            folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _kept(self, blobs: Iterable[str]) -> Iterator[Lease]:
        """Keep blobs in the cache, and what is named by the lease; of no interest to other machines."""
        self._make_cache()
        lease = self._here.lease()
        try:
            with worded(self._cache.places.home):
                lease.claim(*blobs)
            yield lease
        finally:
            with contextlib.suppress(OSError):
                lease.release()

    @contextlib.contextmanager
    def _copy_of(self, blob: str) -> Iterator[Path]:
        """Give a temporary file with the bytes of an object, unchecked; there is no file where there is no object."""
        with self._kept([blob]) as lease:
            path = self._cache.places.temporary / f"{lease.id}.part"
            try:
                with worded(path.parent):
                    make_folder(path.parent)
                with reached(self._objects), contextlib.suppress(FileNotFoundError):
                    self._objects.fetch(blob, path)
                yield path
            finally:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _listed(self) -> Iterator[StoredObject]:
        with reached(self._objects):
            yield from self._objects.list()


class CachedTransfer(Transfer):
    """One push while it stores its tensors in the cache, and then as objects."""

    def __init__(self, store: CachedStore, transfer: Transfer) -> None:
        self._store = store
        self._transfer = transfer

    def write(
        self,
        tensors: Mapping[str, TensorSource],
        locate: Locate,
        progress: Progress | None = None,
        *,
        expected: Mapping[str, str] | None = None,
    ) -> Stored:
        stored = self._transfer.write(tensors, locate, progress, expected=expected)
        for blob in stored.new_blobs:
            self._store.put(blob.digest, afresh=blob.digest in stored.unsound)
        return stored

    def rebuild(self, blob: str, layout: BlobLayout, sources: Mapping[str, TensorSource]) -> None:
        self._transfer.rebuild(blob, layout, sources)
        self._store.put(blob, afresh=True)

    def missing(self, blobs: Iterable[BlobRecord]) -> list[str]:
        return self._store.missing(blob.digest for blob in blobs)


class CachedSweep(Sweep):
    """One collection of the garbage of a cache and of its objects."""

    def __init__(
        self,
        sweep: Sweep,
        lease: Lease,
        objects: ObjectBackend,
        young_seconds: float,
        find: Callable[[Callable[[], Collection[str]]], tuple[Garbage, ...]],
    ) -> None:
        self._sweep = sweep
        self._lease = lease
        self._objects = objects
        self._young_seconds = young_seconds
        self._find = find
        self._doomed: dict[str, int] = {}

    def garbage(self, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
        return self._find(needed)

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
            if not self._lease.is_held:
                raise LeaseLost(str(self._objects))
            with worded(self._objects), reached(self._objects):
                # A push whose lease is not seen may have put it again since it was listed.
                found = self._objects.stat(blob)
                if found is not None and found.age_seconds >= self._young_seconds:
                    self._objects.delete(blob)
            done += nbytes
            if progress is not None:
                progress(done, total)
