"""The bytes of a file, read as they are sent: a header, and ranges of blobs. Nothing of it is copied to disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from registry.blobs.backends.local import LocalStore
from registry.blobs.files import opened
from registry.blobs.verification import is_unchanged
from registry.errors.root import RegistryError
from registry.home.home import Home
from registry.tensors.manifest import StoredTensor

from ..sending import can_send_files, requested_range, send_part
from .files import HubFile, OnDisk, Segment, Stored, length_of

PIECE = 1 << 20
"""Bytes that are read, and sent, at a time."""

_log = logging.getLogger("registry.server.hub")


@dataclass(frozen=True)
class Lying:
    """A part of a file that is believed; the handle is open until the next one is asked for."""

    handle: int
    begin: int
    nbytes: int


@dataclass(frozen=True)
class _Wanted:
    """Which bytes of a segment are wanted."""

    segment: Segment
    first: int
    last: int


def pieces(home: Home, file: HubFile, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Read a file from ``begin`` to before ``end``.

    Every tensor is verified. Of one that this process reads whole for the first time, the last piece is given when that
    is done. Later, and of a part, a file is believed that nobody has touched since it was hashed (``BlobStore.part``):
    hashing takes longer than sending.

    Raises:
        RegistryError: the bytes are not what was stored. Then the file was not given to its end.
    """
    for wanted in _wanted(file, begin, file.size if end is None else end):
        yield from _read(home, wanted)


def parts(home: Home, file: HubFile, begin: int, end: int) -> Iterator[bytes | Lying]:
    """Read it as ``pieces`` does, but give what is believed as where it lies: tensors that follow each other as one."""
    for run in _runs(home, _wanted(file, begin, end)):
        with _lying(home, run) as place:
            if place is not None:
                yield place
        if place is None:
            for wanted in run:
                yield from _read(home, wanted)


def _wanted(file: HubFile, begin: int, end: int) -> Iterator[_Wanted]:
    place = 0
    for segment in file.segments:
        length = length_of(segment)
        first, last = max(begin - place, 0), min(end - place, length)
        if first < last:
            yield _Wanted(segment, first, last)
        place += length


def _runs(home: Home, all_wanted: Iterable[_Wanted]) -> Iterator[list[_Wanted]]:
    """Put together what is believed and follows each other in one blob; everything else is by itself."""
    run: list[_Wanted] = []
    behind: tuple[str, int] | None = None
    for wanted in all_wanted:
        place = _place(home, wanted)
        if run and (place is None or place != behind):
            yield run
            run = []
        run.append(wanted)
        behind = None if place is None else (place[0], place[1] + wanted.last - wanted.first)
    if run:
        yield run


def _place(home: Home, wanted: _Wanted) -> tuple[str, int] | None:
    """Return blob and offset of what is believed if nobody has touched the file; None of anything else."""
    if not isinstance(wanted.segment, Stored) or not _is_believed(home, wanted):
        return None
    location = wanted.segment.tensor.location
    return location.blob, location.offset + wanted.first


@contextlib.contextmanager
def _lying(home: Home, run: Sequence[_Wanted]) -> Iterator[Lying | None]:
    """Give where a run lies; None where it has to be read, which then says what is wrong with it."""
    place, store = _place(home, run[0]), home.blobs
    if place is None or not isinstance(store, LocalStore):
        yield None
        return
    blob, begin = place
    nbytes = sum(wanted.last - wanted.first for wanted in run)
    with contextlib.ExitStack() as stack:
        try:
            handle, status = stack.enter_context(opened(store.places.blob(blob), blob))
        except RegistryError:
            yield None
            return
        is_sound = is_unchanged(store.places, blob, status) and begin + nbytes <= status.st_size
        yield Lying(handle, begin, nbytes) if is_sound else None


def _is_believed(home: Home, wanted: _Wanted) -> bool:
    segment = wanted.segment
    is_part = wanted.last - wanted.first < length_of(segment)
    return isinstance(segment, Stored) and (is_part or (home.folder, segment.tensor) in _verified)


def _read(home: Home, wanted: _Wanted) -> Iterator[bytes]:
    segment, first, last = wanted.segment, wanted.first, wanted.last
    if isinstance(segment, bytes):
        yield segment[first:last]
    elif isinstance(segment, OnDisk):
        with segment.path.open("rb") as file:
            file.seek(first)
            for begin in range(first, last, PIECE):
                yield file.read(min(PIECE, last - begin))
    elif _is_believed(home, wanted):
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
            read = parts if can_send_files(scope) else pieces
            source = read(self._home, self._file, begin, end)
            await self._send(send, 200 if part is None else 206, headers, source, left)
        finally:
            left.cancel()

    async def _send(
        self,
        send: Send,
        status: int,
        headers: Mapping[str, str],
        source: Iterator[bytes | Lying],
        left: asyncio.Future[None],
    ) -> None:
        # An error before the first byte is an answer; after it, the connection ends too early.
        ahead = asyncio.ensure_future(_next(source))
        try:
            piece = await ahead
            await _begin(send, status, headers)
            while piece is not None and not left.done():
                if isinstance(piece, Lying):  # the system reads ahead
                    await send_part(send, piece.handle, piece.begin, piece.nbytes)
                    ahead = asyncio.ensure_future(_next(source))
                else:
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


async def _next(source: Iterator[bytes | Lying]) -> bytes | Lying | None:
    return await run_in_threadpool(next, source, None)


async def _gone(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _begin(send: Send, status: int, headers: Mapping[str, str]) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
