"""The bytes of a served home, behind a cache that all processes of this user share.

What the cache lacks is fetched by one process of those that want it, checked as a whole, and mapped. A push writes into
the cache what the server lacks, and sends that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.blobs.backends.cached import CachedStore
from registry.blobs.backends.local import LocalStore, worded
from registry.blobs.files import viewed
from registry.blobs.layout import read_blob_header
from registry.blobs.leases import Lease
from registry.blobs.rebuilding import BlobLayout
from registry.blobs.sharing import Locate, Shares
from registry.blobs.store import Transfer, Verify
from registry.blobs.writer import Progress, Stored, store_tensors
from registry.client.address import ServerAddress
from registry.client.following import Following
from registry.client.objects import Moved, ServedObjects
from registry.client.session import Session
from registry.disk.folders import make_folder
from registry.errors.blobs import DamagedBlob, StoreUnwritable
from registry.errors.client import OnServerAlone
from registry.tensors.manifest import BlobRecord, Location, Manifest
from registry.tensors.source import TensorSource
from registry.tensors.spec import TensorSpec

if TYPE_CHECKING:
    from registry.blobs.mapping import OpenedWeights


FETCHING = "fetching"
"""Folder of a cache in which blobs grow that are being fetched."""


def caches() -> Path:
    """Return the folder of the caches of all servers."""
    from platformdirs import user_cache_path

    return user_cache_path("checkpoint-registry", appauthor=False)


def cache_of(address: ServerAddress) -> Path:
    """Return the folder of the cache of a server."""
    return caches() / address.folder_name


class ServedStore(CachedStore):
    """The blobs of one server."""

    def __init__(self, session: Session) -> None:
        folder = cache_of(session.address)
        with worded(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._cache = LocalStore(folder)
        self._served = ServedObjects(session)
        self._session = session
        super().__init__(self._cache, self._served)

    @contextlib.contextmanager
    def transfer(self, began: Callable[[], None] = lambda: None) -> Iterator[ServedTransfer]:  # type: ignore[override]
        lease = self._cache.leases.lease()
        try:
            yield ServedTransfer(self._cache, lease, self._served, self._session, began)
        finally:
            with contextlib.suppress(OSError):
                lease.release()

    def open(
        self, manifest: Manifest, verify: Verify = "always", *, resident: bool = False, progress: Progress | None = None
    ) -> OpenedWeights:
        lacking = [blob for blob in manifest.blobs if not self._cache.is_in_place(blob)]
        report = _Report(progress, sum(t.spec.nbytes for b in lacking for t in manifest.by_blob()[b].values()))
        lease = self._cache.leases.lease()
        try:
            with worded(self._cache.places.home):
                lease.claim(*manifest.blobs)  # so that nobody who trims the cache takes them
            for blob in sorted(manifest.blobs):
                self.fetch(blob, report.add)
            return self._cache.open(manifest, verify, resident=resident)
        finally:
            with contextlib.suppress(OSError):
                lease.release()

    def fetch(self, blob: str, moved: Moved = lambda nbytes: None) -> None:
        """Bring a blob into the cache, where it is not there; nothing, where the server has none.

        Raises:
            DamagedBlob: what came is not what it should be.
            ServerUnreachable, StoreUnwritable
        """
        if self._cache.is_in_place(blob):
            self._note_use(blob)
            return
        with self._alone(blob) as (handle, path):
            if self._cache.is_in_place(blob):
                return
            was_there = os.fstat(handle).st_size > 0
            try:
                fault = self._received(blob, handle, path, moved)
                if fault is not None and was_there:  # what came before was of something else
                    os.ftruncate(handle, 0)
                    fault = self._received(blob, handle, path, moved)
            except FileNotFoundError:
                path.unlink()
                return
            if fault is not None:
                path.unlink()
                raise DamagedBlob(blob, fault)
            self._cache.adopt(path, blob)

    def _received(self, blob: str, handle: int, path: Path, moved: Moved) -> str | None:
        """Fetch what is lacking, and say what is wrong with the whole."""
        with Following(handle) as following:

            def came(nbytes: int) -> None:
                following.grew(nbytes)
                moved(nbytes)

            try:
                self._served.receive(blob, handle, came)
                return following.fault(blob)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise StoreUnwritable(path, error.strerror or str(error), error.errno) from error

    @contextlib.contextmanager
    def _alone(self, blob: str) -> Iterator[tuple[int, Path]]:
        """Give the file that a blob is fetched into, once no other process fetches it."""
        folder = self._cache.places.home / FETCHING
        with worded(folder):
            make_folder(folder)
            path = folder / f"{blob}.part"
            while True:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                fcntl.flock(handle, fcntl.LOCK_EX)
                try:
                    is_same = path.stat().st_ino == os.fstat(handle).st_ino
                except FileNotFoundError:
                    is_same = self._cache.is_in_place(blob)  # whoever had it gave it its name
                if is_same:
                    break
                os.close(handle)
        try:
            yield handle, path
        finally:
            os.close(handle)

    def _note_use(self, blob: str) -> None:
        """Say by the time of its stamp that a blob was used: the others are trimmed first."""
        with contextlib.suppress(OSError):
            os.utime(self._cache.places.stamp(blob))


class ServedTransfer(Transfer):
    """One push while it stores its tensors in the cache, and then at the server."""

    def __init__(
        self, cache: LocalStore, lease: Lease, objects: ServedObjects, session: Session, began: Callable[[], None]
    ) -> None:
        self._cache = cache
        self._lease = lease
        self._objects = objects
        self._session = session
        self._began = began

    def write(
        self,
        tensors: Mapping[str, TensorSource],
        locate: Locate,
        progress: Progress | None = None,
        *,
        expected: Mapping[str, str] | None = None,
    ) -> Stored:
        """Store tensors by name. Of the progress, the first half is the hashing, the second the sending."""
        half = None if progress is None else _half(progress)
        with worded(self._cache.places.home):
            stored = store_tensors(
                self._cache.places,
                self._cache.places.temporary / f"{self._lease.id}.part",
                tensors,
                _AsServed(locate),
                self._announce,
                half,
                expected=expected,
            )
        for blob in stored.new_blobs:
            nbytes = sum(source.spec.nbytes for source in tensors.values())
            report = _Report(progress, 2 * nbytes, nbytes, scale=nbytes / max(1, blob.nbytes))
            digests = {
                (each.location.offset, each.spec): each.digest
                for each in stored.tensors.values()
                if each.location.blob == blob.digest
            }
            path = self._cache.places.blob(blob.digest)
            self._session.uploads[blob.digest] = self._objects.send(
                blob.digest, path, _in_order(path, blob.digest, digests), report.add
            )
        return stored

    def rebuild(self, blob: str, layout: BlobLayout, sources: Mapping[str, TensorSource]) -> None:
        raise OnServerAlone("audit --repair", self._session.address.url)

    def missing(self, blobs: Iterable[BlobRecord]) -> list[str]:
        """Nothing: the server looks for itself, under its lock."""
        return []

    def _announce(self, blob: str | None) -> None:
        self._lease.claim(*(() if blob is None else (blob,)))
        self._began()


class _AsServed(Shares):
    """What the server says that it has, which it has looked at before."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate

    @property
    def unsound(self) -> set[str]:
        return set()

    def find(self, tensors: Sequence[tuple[str, TensorSpec]]) -> dict[str, Location]:
        return dict(self._locate({digest for digest, _ in tensors}))


class _Report:
    """A progress that is told what was moved since it was last told."""

    def __init__(self, progress: Progress | None, total: int, done: int = 0, scale: float = 1.0) -> None:
        self._progress = progress
        self._total = total
        self._done: float = done
        self._scale = scale

    def add(self, nbytes: int) -> None:
        self._done += nbytes * self._scale
        if self._progress is not None:
            self._progress(min(int(self._done), self._total), self._total)


def _half(progress: Progress) -> Progress:
    return lambda done, total: progress(done, 2 * total)


def _in_order(path: Path, blob: str, digests: Mapping[tuple[int, TensorSpec], str]) -> list[str]:
    """Return the digests of a new blob's tensors, in the order of its file."""
    with viewed(path, blob) as content:
        start, slots = read_blob_header(content)
        return [digests[start + slot.offset, slot.spec] for slot in slots]
