"""A client's connection: what is no HTTP is refused in words, nobody dawdles, and an early answer arrives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from registry.errors.requests import InvalidRequest, OversizedHeaders, SlowRequest
from registry.errors.root import RegistryError

from .answers import status_of
from .envelope import HEADERS, MOST_HEADER_BYTES

_LINGERS = 10.0
"""Seconds for which what nobody reads is taken and thrown away: closed at once, a connection would lose the answer."""


class Connection(H11Protocol):
    """As uvicorn's, with limits to how long a client may take to send the headers, or a body that nobody reads."""

    patience = 30.0
    """Seconds for the headers of a request, from the connection or from their first byte on."""
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _was_refused = False

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
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Go on with the next request; where the rest of this one is still coming, only if that ends soon."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
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
