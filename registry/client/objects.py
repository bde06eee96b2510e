"""The blobs of a served home, each an object: they come and go in pieces, and go on where they stopped."""

from __future__ import annotations

import base64
import mmap
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from registry.blobs.files import viewed
from registry.blobs.layout import read_blob_header
from registry.blobs.objects import Moved, ObjectBackend, StoredObject, unmoved
from registry.client.behind import Behind
from registry.client.reasons import reason_of
from registry.client.session import NothingBehind, Session
from registry.errors.blobs import DamagedBlob
from registry.errors.client import OnServerAlone, ServerUnreachable, UnexpectedAnswer, UploadElsewhere, UploadGone
from registry.tensors.spec import check_digest, tensor_digest

PIECE = 32 << 20
"""Bytes that one request moves."""

AT_ONCE = 256 << 10
"""Bytes of a file up to which it is sent with the request that announces it."""

_READ = 1 << 20
_ATTEMPTS = 8
"""Requests in a row of which none got a byte further, before it is given up."""
_MOST_SECONDS = 10.0
"""Between two of them."""


class ServedObjects(ObjectBackend):
    """The blobs of one server. What they are, the server checks as they come in, and the client after they came."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __str__(self) -> str:
        return self._session.address.url

    def has(self, digest: str) -> bool:
        check_digest(digest)
        found = self._session.ask("/blobs/there", {"digests": [digest]})
        with self._session.legible():
            return digest in found["there"]

    def stat(self, digest: str) -> StoredObject | None:
        raise OnServerAlone("audit", str(self))

    def put(self, digest: str, path: Path) -> None:
        self.send(digest, path, tensors_of(path, digest))

    def fetch(self, digest: str, path: Path) -> None:
        with path.open("xb") as file:
            try:
                self.receive(digest, file.fileno())
            except FileNotFoundError:
                path.unlink()
                raise

    def ranges(self, digest: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        found = []
        for offset, length in wanted:
            if not length:
                found.append(b"")
                continue
            with self._session.opened(_path(digest), offset, offset + length) as response:
                found.append(response.read())
            if len(found[-1]) != length:
                raise EOFError(digest)
        return found

    def list(self) -> Iterator[StoredObject]:
        raise OnServerAlone("audit", str(self))

    def delete(self, digest: str) -> None:
        raise OnServerAlone("gc", str(self))

    def set_aside(self, digest: str, *, keep: bool = False) -> str | None:
        raise OnServerAlone("audit --repair", str(self))

    def seconds_ahead(self) -> float:
        raise OnServerAlone("doctor", str(self))

    # In pieces

    def receive(self, digest: str, handle: int, moved: Moved = unmoved) -> None:
        """Write what a file lacks of a blob behind what it has.

        Raises:
            FileNotFoundError: there is no such blob.
            ServerUnreachable: the connection breaks off again and again; what came stays in the file.
        """
        at, total = os.fstat(handle).st_size, -1
        patience = _Patience(self)
        while at != total:
            before = at
            try:
                with (
                    self._session.opened(_path(digest), at, at + PIECE) as response,
                    Behind(handle, at, moved) as behind,
                ):
                    total = _total(response.headers.get("Content-Range", ""), at, str(self))
                    while content := response.read(_READ):
                        at += len(content)
                        behind.write(content)
                if at == before != total:
                    raise ServerUnreachable(str(self), "it sends nothing of what it has announced")
            except NothingBehind:
                return  # it was there as a whole
            except DamagedBlob as error:
                raise FileNotFoundError(digest) from error
            except (HTTPError, ServerUnreachable) as error:
                patience.wait(error, at > before)
            if at > total > 0:
                raise UnexpectedAnswer(str(self), "more bytes than it announced")

    def send(self, digest: str, path: Path, tensors: Sequence[str], moved: Moved = unmoved) -> str:
        """Send a file, and return the id of the upload, which keeps it from being collected.

        Args:
            tensors: their digests, in the order of the file.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapping, memoryview(mapping) as content:
                try:
                    return self._send(digest, content, tensors, moved)
                except UploadGone:  # after an hour in which nothing went
                    return self._send(digest, content, tensors, moved)

    def _send(self, digest: str, content: memoryview, tensors: Sequence[str], moved: Moved) -> str:
        new = {"blob": digest, "nbytes": len(content), "tensors": list(tensors)}
        if len(content) <= AT_ONCE:
            new["content"] = base64.b64encode(content).decode()
        upload = self._session.ask("/uploads", new)
        with self._session.legible():
            id = _upload_id(upload["id"])
        at = self._received(upload, 0, len(content))
        moved(at)
        patience = _Patience(self)
        while at < len(content):
            before = at
            try:
                end = at + PIECE if len(content) - at > PIECE + _READ else len(content)  # no request for the rest alone
                with content[at:end] as piece:
                    at = self._received(self._session.put(f"/uploads/{id}", piece, at=at), at + 1, len(content))
            except (ServerUnreachable, UploadElsewhere) as error:
                patience.wait(error, False)
                at = self._received(self._session.get(f"/uploads/{id}"), 0, len(content))
            moved(at - before)
        return id

    def _received(self, state: Any, least: int, most: int) -> int:
        """Return how much of an upload a server says that it has.

        Raises:
            UnexpectedAnswer: that cannot be.
        """
        with self._session.legible():
            received = state["received"]
            if type(received) is not int or not least <= received <= most:
                raise ValueError(f"{received!r} bytes of an upload have come, of {most}"[:200])
            return received


class _Patience:
    """How often a transfer is taken up again."""

    def __init__(self, objects: ServedObjects) -> None:
        self._objects = objects
        self._in_vain = 0

    def wait(self, error: Exception, got_on: bool) -> None:
        """Wait a while, longer each time; or give up.

        Raises:
            RegistryError
        """
        self._in_vain = 0 if got_on else self._in_vain + 1
        if self._in_vain >= _ATTEMPTS:
            if isinstance(error, HTTPError):
                raise ServerUnreachable(str(self._objects), reason_of(error)) from None
            raise error
        time.sleep(min(_MOST_SECONDS, 0.1 * 2**self._in_vain))


def tensors_of(path: Path, digest: str) -> list[str]:
    """Return the digests of a blob's tensors, in the order of its file."""
    with viewed(path, digest) as content:
        start, slots = read_blob_header(content)
        found = []
        for slot in slots:
            with content[start + slot.offset : start + slot.end] as part:
                found.append(tensor_digest(slot.spec, part))
        return found


def _upload_id(id: object) -> str:
    """Return the id of an upload, which becomes a part of a path.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(id, str) or not id.isalnum() or not id.isascii():
        raise ValueError("the id of an upload is none")
    return id


def _path(digest: str) -> str:
    return f"/blobs/{check_digest(digest)}"


def _total(content_range: str, at: int, url: str) -> int:
    """Return how long a blob is, as ``bytes 0-99/1000`` says it."""
    unit, _, rest = content_range.partition(" ")
    part, _, total = rest.partition("/")
    begin = part.partition("-")[0]
    if unit != "bytes" or not begin.isdecimal() or not total.isdecimal() or int(begin) != at:
        raise UnexpectedAnswer(url, f"the part {content_range[:60]!r} of a blob")
    return int(total)
