"""The bytes of a served home, behind a cache that all processes of this user share.

What the cache lacks is fetched by one process of those that want it, checked as a whole, and mapped. A push writes into
the cache what the server lacks, and sends that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from registry.blobs.backends.cached import CachedStore
from registry.blobs.backends.fetching import Report
from registry.blobs.backends.local import LocalStore, worded
from registry.blobs.files import viewed
from registry.blobs.layout import read_blob_header
from registry.blobs.leases import Lease
from registry.blobs.objects import Moved
from registry.blobs.rebuilding import BlobLayout
from registry.blobs.sharing import Locate, Shares
from registry.blobs.store import Examined, Transfer
from registry.blobs.writer import Progress, Stored, store_tensors
from registry.client.address import ServerAddress
from registry.client.following import Following
from registry.client.objects import ServedObjects
from registry.client.session import Session
from registry.errors.blobs import StoreUnwritable
from registry.errors.client import OnServerAlone
from registry.tensors.manifest import BlobRecord, Location
from registry.tensors.source import TensorSource
from registry.tensors.spec import TensorSpec, tensor_digest


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
    def transfer(self, began: Callable[[], None] = lambda: None) -> Iterator[ServedTransfer]:
        lease = self._cache.leases.lease()
        try:
            yield ServedTransfer(self._cache, lease, self._served, self._session, began)
        finally:
            with contextlib.suppress(OSError):
                lease.release()

    def _receive(self, blob: str, handle: int, path: Path, moved: Moved) -> Examined:
        """Fetch what is lacking, and say what the whole is."""
        with Following(handle) as following:

            def came(nbytes: int) -> None:
                following.grew(nbytes)
                moved(nbytes)

            try:
                self._served.receive(blob, handle, came)
                return following.examined(blob)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise StoreUnwritable(path, error.strerror or str(error), error.errno) from error


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
            report = Report(progress, 2 * nbytes, nbytes, scale=nbytes / max(1, blob.nbytes))
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


def _half(progress: Progress) -> Progress:
    return lambda done, total: progress(done, 2 * total)


def _in_order(path: Path, blob: str, digests: Mapping[tuple[int, TensorSpec], str]) -> list[str]:
    """Return the digests of a new blob's tensors, in the order of its file.

    Two that became equal between their hashing and their writing, as of a model that trains on, are both in it.
    """
    found = []
    with viewed(path, blob) as content:
        start, slots = read_blob_header(content)
        for slot in slots:
            at = start + slot.offset
            with content[at : start + slot.end] as part:
                found.append(digests.get((at, slot.spec)) or tensor_digest(slot.spec, part))
    return found
