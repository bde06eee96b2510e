"""The bytes of a file, read as they are sent: a header, and ranges of blobs. Nothing of it is copied to disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from registry.errors.root import RegistryError
from registry.home.home import Home
from registry.tensors.manifest import StoredTensor

from .files import HubFile, OnDisk, Segment, length_of

PIECE = 1 << 20
"""Bytes that are read, and sent, at a time."""

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_log = logging.getLogger("registry.server.hub")


def pieces(home: Home, file: HubFile, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Read a file from ``begin`` to before ``end``.

    Every tensor is verified. Of one that this process reads whole for the first time, the last piece is given when that
    is done. Later, and of a part, a file is believed that nobody has touched since it was hashed (``BlobStore.part``):
    hashing takes longer than sending.

    Raises:
        RegistryError: the bytes are not what was stored. Then the file was not given to its end.
    """
    end = file.size if end is None else end
    place = 0
    for segment in file.segments:
        length = length_of(segment)
        first, last = max(begin - place, 0), min(end - place, length)
        if first < last:
            yield from _of_segment(home, segment, first, last, length)
        place += length


def _of_segment(home: Home, segment: Segment, first: int, last: int, length: int) -> Iterator[bytes]:
    if isinstance(segment, bytes):
        yield segment[first:last]
    elif isinstance(segment, OnDisk):
        with segment.path.open("rb") as file:
            file.seek(first)
            for begin in range(first, last, PIECE):
                yield file.read(min(PIECE, last - begin))
    elif last - first < length or (home.folder, segment.tensor) in _verified:
        for piece in home.span(segment.entry, segment.name, segment.tensor, first, last, PIECE):
            yield bytes(piece)
    else:
        held = b""
        for piece in home.pieces(segment.entry, segment.name, segment.tensor, PIECE):
            if held:
                yield held
            held = bytes(piece)
        if len(_verified) < _MOST_VERIFIED:
            _verified.add((home.folder, segment.tensor))
        yield held


_verified: set[tuple[Path, StoredTensor]] = set()
"""What this process has hashed where it lies."""
_MOST_VERIFIED = 1_000_000


def requested_range(given: str | None, size: int) -> tuple[int, int] | None:
    """Return the bytes that a header asks for, as begin and end; None where all are sent.

    Several ranges, and what is no range, are answered with the whole.

    Raises:
        ValueError: there are no such bytes.
    """
    found = _RANGE.fullmatch(given.replace(" ", "")) if given is not None else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        begin, end = max(0, size - int(found[2])), size
    else:
        begin, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < begin:
            return None
    if begin >= size or begin >= end:
        raise ValueError("no such bytes")
    return begin, end


class Content:
    """An answer of a file's bytes: all, a range, or, to HEAD, none.

    What is read next is read while the last piece is sent.
    """

    def __init__(self, home: Home, file: HubFile, headers: Mapping[str, str]) -> None:
        self._home = home
        self._file = file
        self._headers = dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        size, headers = self._file.size, {**self._headers, "accept-ranges": "bytes"}
        wanted = asked.get("range")
        if asked.get("if-range", headers["etag"]) != headers["etag"] or scope["method"] == "HEAD":
            wanted = None
        try:
            part = requested_range(wanted, size)
        except ValueError:
            headers |= {"content-range": f"bytes */{size}", "content-length": "0"}
            await _begin(send, 416, headers)
            await send({"type": "http.response.body", "body": b""})
            return
        begin, end = part or (0, size)
        headers["content-length"] = str(end - begin)
        if part is not None:
            headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"
        if scope["method"] == "HEAD" or begin == end:
            await _begin(send, 200, headers)
            await send({"type": "http.response.body", "body": b""})
            return
        left = asyncio.ensure_future(_gone(receive))
        try:
            await self._send(send, 200 if part is None else 206, headers, (begin, end), left)
        finally:
            left.cancel()

    async def _send(
        self,
        send: Send,
        status: int,
        headers: Mapping[str, str],
        span: tuple[int, int],
        left: asyncio.Future[None],
    ) -> None:
        source = pieces(self._home, self._file, *span)
        # An error before the first byte is an answer; after it, the connection ends too early.
        ahead = asyncio.ensure_future(_next(source))
        try:
            piece = await ahead
            await _begin(send, status, headers)
            while piece is not None and not left.done():
                ahead = asyncio.ensure_future(_next(source))
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await ahead
            if piece is None:
                await send({"type": "http.response.body", "body": b""})
        except RegistryError as error:
            _log.error("%s was not sent to its end: %s", self._file.path, error)
            raise
        finally:
            with contextlib.suppress(Exception):
                await asyncio.shield(ahead)
            await run_in_threadpool(source.close)  # type: ignore[attr-defined]


async def _next(source: Iterator[bytes]) -> bytes | None:
    return await run_in_threadpool(next, source, None)


async def _gone(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _begin(send: Send, status: int, headers: Mapping[str, str]) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
