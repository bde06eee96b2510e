"""Objects in a bucket: Amazon's S3 and what speaks as it does, Google Cloud Storage, Azure. All through obstore.

The keys are the paths that blobs have in a home, so that a bucket can be copied into one. What is put is named by its
content, so two writers of one key write the same. Credentials are those of the environment, as obstore reads it.

The library has threads of its own, which a forked child does not inherit: there every call would wait forever. So a
child of a process that has used it is told to be another process. Nothing here is used where the cache has all.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.blobs.backends.addresses import check_address
from registry.blobs.backends.answers import ends_before, said, status_of, unreached
from registry.blobs.backends.cached import CachedStore
from registry.blobs.backends.local import LocalStore
from registry.blobs.files import StoreFolders
from registry.blobs.objects import Moved, ObjectBackend, StoredObject, unmoved
from registry.blobs.running import FileLeases
from registry.blobs.shared_leases import LeaseTable, SharedLeases
from registry.disk.writing import write_at, write_out
from registry.errors.blobs import ObjectsUnreachable
from registry.errors.objects import ObjectsAfterFork, UnknownBucket
from registry.errors.server import ExtraMissing
from registry.tensors.spec import check_digest, is_digest

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PIECE = 16 << 20
"""Bytes that one request moves."""

AT_ONCE = 4
"""Requests of one put or fetch that run side by side; so much memory times ``PIECE`` it takes at most."""

_MOST_PARTS = 9_000
"""Of one put; S3 takes 10,000."""

_SECONDS = 600
"""For the whole body of a request; the library's own 30 s are too few for a piece over a slow line."""

_CONNECT_SECONDS = 10
_RETRIES = 5
_RETRY_SECONDS = 30

_BLOB = re.compile(r"blobs/[0-9a-f]{2}/([0-9a-f]{64})\.safetensors")

_is_used = _is_forked = False


def store_at(url: str, cache: Path, leases: LeaseTable | None = None) -> CachedStore:
    """Return the store whose blobs are in a bucket; nothing is asked of it before it is used.

    Args:
        url: ``s3://bucket/prefix``, ``gs://…`` or ``az://…``.
        cache: the folder on a disk of this machine that loads map from; made when something is written.
        leases: the table of those of all machines that change the same catalog.

    Raises:
        InvalidBucket: it is no address of a bucket.
        ExtraMissing: the library for buckets is not installed.
    """
    objects, here = BucketBackend(url), FileLeases(StoreFolders(cache).running)
    local = LocalStore(cache, here if leases is None else SharedLeases(leases, here))
    return CachedStore(local, objects)


class BucketBackend(ObjectBackend):
    """The objects under one address.

    Args:
        url: ``s3://bucket/prefix``, ``gs://…`` or ``az://…``.

    Raises:
        InvalidBucket: it is no address of a bucket.
        ExtraMissing: the library for buckets is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = check_address(url)
        self._store: ObjectStore | None = None
        self._was_listed = False
        from importlib.util import find_spec

        if find_spec("obstore") is None:
            raise ExtraMissing(f"a registry whose blobs are in {self._url}", "objects")

    def __str__(self) -> str:
        return self._url

    def has(self, digest: str) -> bool:
        return self.stat(digest) is not None

    def stat(self, digest: str) -> StoredObject | None:
        import obstore

        key = _key(digest)
        try:
            found = self._ask(obstore.head, key)
        except FileNotFoundError:
            return None
        return StoredObject(digest, found["size"], _age(found["last_modified"]))

    def put(self, digest: str, path: Path) -> None:
        import obstore

        key, nbytes = _key(digest), path.stat().st_size
        piece = max(PIECE, -(-nbytes // _MOST_PARTS))
        try:
            self._ask(obstore.put, key, path, chunk_size=piece, max_concurrency=AT_ONCE)
        except FileNotFoundError:
            path.stat()  # a collection has taken it
            raise ObjectsUnreachable(self._url, "it does not take what is put") from None
        found = self.stat(digest)
        if found is None or found.nbytes != nbytes:
            held = "nothing" if found is None else f"{found.nbytes} bytes"
            raise ObjectsUnreachable(self._url, f"it holds {held} where {nbytes} bytes were put")

    def fetch(self, digest: str, path: Path) -> None:
        check_digest(digest)
        with path.open("xb") as file:
            try:
                self.receive(digest, file.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def receive(self, digest: str, handle: int, moved: Moved = unmoved) -> None:
        found = self.stat(digest)
        if found is None:
            raise FileNotFoundError(digest)
        nbytes = found.nbytes
        os.ftruncate(handle, 0)
        if nbytes:
            os.posix_fallocate(handle, 0, nbytes)  # a disk that is too small says so before anything comes

        def bring(begin: int) -> None:
            (content,) = self._ranges(digest, [(begin, min(PIECE, nbytes - begin))])
            write_at(handle, content, begin)
            write_out(handle, begin, len(content))
            moved(len(content))

        self._client()  # a forked child is told so here, and not by a thread
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            pieces = [pool.submit(bring, begin) for begin in range(0, nbytes, PIECE)]
            try:
                for piece in pieces:
                    piece.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def ranges(self, digest: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        return [bytes(part) for part in self._ranges(digest, wanted)]

    def _ranges(self, digest: str, wanted: Sequence[tuple[int, int]]) -> list[memoryview]:
        import obstore

        key = _key(digest)
        asked = [(offset, length) for offset, length in wanted if length]
        try:
            if len(asked) == 1:
                parts = [self._ask(obstore.get_range, key, start=asked[0][0], length=asked[0][1])]
            elif asked:
                starts, lengths = zip(*asked, strict=True)
                parts = list(self._ask(obstore.get_ranges, key, starts=starts, lengths=lengths))
            else:
                parts = []
        except _PastTheEnd:
            raise EOFError(digest) from None
        if any(len(part) != length for part, (_, length) in zip(parts, asked, strict=True)):
            raise EOFError(digest)
        left = iter(parts)
        return [memoryview(next(left)) if length else memoryview(b"") for _, length in wanted]

    def list(self) -> Iterator[StoredObject]:
        import obstore

        pages = iter(self._ask(obstore.list, "blobs"))
        while True:
            with self._worded():
                page = next(pages, None)
            if page is None:
                return
            for found in page:
                match = _BLOB.fullmatch(found["path"])
                if match and is_digest(match[1]) and found["path"] == _key(match[1]):
                    yield StoredObject(match[1], found["size"], _age(found["last_modified"]))

    def delete(self, digest: str) -> None:
        import obstore

        # Azure's is an error where there is none; S3's only where there is no bucket, which was asked then.
        with contextlib.suppress(FileNotFoundError):
            self._ask(obstore.delete, _key(digest))

    def set_aside(self, digest: str, *, keep: bool = False) -> str | None:
        import obstore

        name = f"{check_digest(digest)}.safetensors.{uuid.uuid4().hex[:8]}"
        try:
            self._ask(obstore.copy, _key(digest), f"quarantine/{name}")
        except FileNotFoundError:
            return None
        if not keep:
            self.delete(digest)
        return name

    def seconds_ahead(self) -> float:
        import obstore

        key = f"probe/{uuid.uuid4().hex}"
        self._ask(obstore.put, key, b"is this bucket there?")
        try:
            now = time.time()
            found = self._ask(obstore.head, key)
            return float(found["last_modified"].timestamp() - now)
        finally:
            self._ask(obstore.delete, key)

    def _client(self) -> ObjectStore:
        global _is_used
        if _is_forked:
            raise ObjectsAfterFork(self._url)
        if self._store is None:
            from obstore.store import from_url

            with self._worded():
                self._store = from_url(
                    self._url,
                    client_options={
                        "timeout": timedelta(seconds=_SECONDS),
                        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                        "allow_http": _is_plain(),
                    },
                    retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
                )
        _is_used = True
        return self._store

    def _ask(self, verb: Callable[..., Any], key: str, *arguments: Any, **options: Any) -> Any:
        """Ask for something.

        Raises:
            FileNotFoundError: the bucket is there, and has no such key.
            ObjectsUnreachable
        """
        store = self._client()
        with self._worded():
            return verb(store, key, *arguments, **options)

    @contextlib.contextmanager
    def _worded(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            text = str(error)
            if ends_before(text):
                raise _PastTheEnd(self._url) from None
            is_missing = isinstance(error, FileNotFoundError)
            if (known := said(self._url, text)) is not None:
                raise known from None
            if is_missing or status_of(text) in (401, 403):
                # The answer to a HEAD has no words, and what is not there may be the bucket.
                self._require_bucket()
            raise FileNotFoundError(self._url) if is_missing else unreached(self._url, text) from None

    def _require_bucket(self) -> None:
        """Ask for the list, whose answer tells in words what is wrong.

        Raises:
            ObjectsUnreachable
        """
        import obstore
        from obstore.exceptions import BaseError

        if self._was_listed:
            return
        try:
            next(iter(obstore.list(self._client(), "blobs", chunk_size=1)), None)
        except (BaseError, FileNotFoundError) as error:
            text = str(error)
            raise UnknownBucket(self._url) if status_of(text) == 404 else unreached(self._url, text) from None
        self._was_listed = True


class _PastTheEnd(Exception):
    """A part was asked for of an object that ends before."""


def _key(digest: str) -> str:
    return f"blobs/{check_digest(digest)[:2]}/{digest}.safetensors"


def _age(at: datetime) -> float:
    return (datetime.now(UTC) - at).total_seconds()


def _is_plain() -> bool:
    """Whether the environment names a server that is asked without TLS."""
    endpoints = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL")
    return any(os.environ.get(name, "").lower().startswith("http://") for name in endpoints)


def _forked() -> None:
    global _is_forked
    _is_forked = _is_forked or _is_used


os.register_at_fork(after_in_child=_forked)
