"""A client's connection, for as long as it sends no request: what is no HTTP is refused in words, and nobody dawdles."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from registry.errors.requests import InvalidRequest, SlowRequest
from registry.errors.root import RegistryError

from .answers import status_of
from .envelope import HEADERS

MOST_HEADER_BYTES = 32 << 10
"""Of a request's first line and headers together."""


class Connection(H11Protocol):
    """As uvicorn's, with a limit to how long the headers of the first request may take.

    Those of each later one have ``timeout_keep_alive`` to begin, and what was begun has this limit again.
    """

    patience = 30.0
    """Seconds."""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self._is_between_requests():
            self._wait()
        super().data_received(data)
        if not self._is_between_requests():
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too large headers."""
        received = len(self.conn.trailing_data[0])
        too_large = received > MOST_HEADER_BYTES
        why = f"its headers have more than {MOST_HEADER_BYTES:,} bytes" if too_large else "it is not valid HTTP"
        self._refuse(InvalidRequest(why), 431 if too_large else 400)

    def _is_between_requests(self) -> bool:
        return self.conn.their_state is h11.IDLE

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.patience, self._give_up)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._is_between_requests() and not self.transport.is_closing():
            if self.conn.trailing_data[0]:
                self._refuse(SlowRequest(len(self.conn.trailing_data[0])))
            else:
                self.transport.close()

    def _refuse(self, error: RegistryError, status: int | None = None) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # An answer is on its way already: its end would not be known from the beginning of another one.
            self.transport.close()
            return
        body = json.dumps({"error": error.document()}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        response = h11.Response(status_code=status or status_of(error), headers=[*headers, *HEADERS.items()])
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
