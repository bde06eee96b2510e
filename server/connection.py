"""A client's connection: what is no HTTP is refused in words, nobody dawdles, and an early answer arrives."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from registry.errors.requests import InvalidRequest, OversizedHeaders, SlowRequest
from registry.errors.root import RegistryError

from .answers import status_of
from .envelope import HEADERS, MOST_HEADER_BYTES
from .receiving import LARGE, WRITING, LargeBody
from .sending import EXTENSION

_LINGERS = 10.0
"""Seconds for which what nobody reads is taken and thrown away: closed at once, a connection would lose the answer."""

_STRETCH = 1 << 18
"""Bytes of a file that are read at a time, while the system still sends those before them."""


class Connection(H11Protocol):
    """As uvicorn's, with limits to how long a client may take to send the headers, or a body that nobody reads.

    It sends parts of files, and takes large bodies, past what parses HTTP: ``sending`` and ``receiving``.
    """

    patience = 30.0
    """Seconds for the headers of a request, from the connection or from their first byte on."""
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _was_refused = False
    _body: LargeBody | None = None
    """Of the request that is worked on, where it comes past h11."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.app: Any = partial(self._extended, self.app)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect(self.patience, self._give_up)

    def data_received(self, data: bytes) -> None:
        if self._was_refused:
            return
        if self._deadline is None and self.conn.their_state is h11.IDLE:
            self._expect(self.patience, self._give_up)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE and not self._was_refused:
            self._expect_no_more()

    def pause_writing(self) -> None:
        """Wait for a client to take what it asked for: a piece of at most some MiB is on its way."""
        super().pause_writing()
        self._stalled = self.loop.call_later(4 * self.patience, self.transport.abort)

    def resume_writing(self) -> None:
        self._take_for_alive()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_more()
        self._take_for_alive()
        self._body = None  # a piece's memory, which would wait for the garbage collector with all else of a connection
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Go on with the next request; where the rest of this one is still coming, only if that ends soon."""
        if self._body is not None:
            self._body.end(self._begin_anew)
            self._body = None
        is_coming = self.conn.their_state is h11.SEND_BODY  # afterwards, it is the next request's
        super().on_response_complete()
        if is_coming:
            self._unset_keepalive_if_required()
            self._expect(_LINGERS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too large headers."""
        is_large = len(self.conn.trailing_data[0]) > MOST_HEADER_BYTES
        self._refuse(OversizedHeaders(MOST_HEADER_BYTES) if is_large else InvalidRequest("it is not valid HTTP"))

    def _give_up(self) -> None:
        self._deadline = None
        received = len(self.conn.trailing_data[0])
        if self.conn.their_state is h11.IDLE and received:
            self._refuse(SlowRequest(received))
        else:
            self.transport.close()

    def _refuse(self, error: RegistryError) -> None:
        if self.transport.is_closing():
            return
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # An answer is on its way: its end would not be known from the beginning of another one.
            self.transport.close()
            return
        body = json.dumps({"error": error.document()}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        answer = h11.Response(status_code=status_of(error), headers=[*headers, *HEADERS.items()])
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._was_refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._expect(_LINGERS, self.transport.close)

    async def _extended(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with what this connection has beyond uvicorn's."""
        headers = dict(scope["headers"])
        left = 0 if b"transfer-encoding" in headers else int(headers.get(b"content-length", 0))
        writing: dict[str, Callable[[memoryview], None]] = {}

        async def receiving() -> Message:
            nonlocal left
            body = self._body
            message = await (receive() if body is None else body.receive(writing.get("write")))
            left -= len(message.get("body", b""))
            if body is None and left >= LARGE and message["type"] == "http.request":
                self._expect_no_more()
                self._body = LargeBody(self, left, self.flow, self.transport)
                self.transport.set_protocol(self._body)
                self.flow.resume_reading()
            return message

        async def sending(message: Message) -> None:
            if message["type"] == EXTENSION:
                await self._send_file(message["file"], message["offset"], message["count"])
            else:
                await send(message)

        scope["extensions"] = {EXTENSION: {}, WRITING: writing}
        await app(scope, receiving, sending)

    def _begin_anew(self) -> None:
        """Read requests again, behind a body of which h11 does not know that it has come."""
        self.conn = h11.Connection(h11.SERVER, MOST_HEADER_BYTES)
        self.transport.set_protocol(self)

    async def _send_file(self, handle: int, begin: int, nbytes: int) -> None:
        """Send a part of a file as a part of the body.

        Raises:
            ClientDisconnect: the client left, or takes nothing.
            EOFError: the file is shorter.
        """
        await self.flow.drain()
        if self.cycle.disconnected:
            raise ClientDisconnect()
        self.conn.send_with_data_passthrough(h11.Data(data=_Elsewhere(nbytes)))  # type: ignore[arg-type]
        at, end = begin, begin + nbytes
        while at < end:
            count = min(_STRETCH, end - at)
            if _is_at_hand(handle, at + count - 1):
                content = os.pread(handle, count, at)
            else:
                content = await run_in_threadpool(os.pread, handle, count, at)
            if not content:
                raise EOFError(f"a file ends {end - at} bytes before the part that was to be sent")
            await self.flow.drain()
            if self.cycle.disconnected:
                raise ClientDisconnect()
            self.transport.write(content)
            at += len(content)

    def _take_for_alive(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _expect(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._expect_no_more()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _expect_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Elsewhere:
    """Stands for bytes that are written by themselves, and has their length."""

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes

    def __len__(self) -> int:
        return self._nbytes


def _is_at_hand(handle: int, place: int) -> bool:
    """Whether the system has a byte of a file in memory: from the disk, all requests would wait for it."""
    try:
        os.preadv(handle, [bytearray(1)], place, os.RWF_NOWAIT)
    except (OSError, AttributeError):  # it has not, or there is no asking
        return False
    return True
