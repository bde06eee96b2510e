"""What surrounds every request: no fault leaves without words, headers for browsers, a line in the log."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry.errors.requests import OversizedHeaders, ServerBusy, ServerFailed, ServerStopping
from registry.errors.root import shown

from .access import NOBODY, Caller
from .answers import refusal

MOST_AT_ONCE = 256
"""Requests that one process works on."""

MOST_HEADER_BYTES = 32 << 10
"""Of a request's address and headers together."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    # What is no page of ours is data, and does nothing wherever it is opened; pages say what they need.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}

_log = logging.getLogger("registry.server")
_requests = logging.getLogger("registry.server.requests")


class Envelope:
    """The outermost layer."""

    def __init__(self, app: ASGIApp, logs_requests: bool) -> None:
        self._app = app
        self._logs_requests = logs_requests
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        self._running += 1
        try:
            if self._running > MOST_AT_ONCE:
                await refusal(ServerBusy(MOST_AT_ONCE))(scope, receive, answer.send)
            elif _header_bytes(scope) > MOST_HEADER_BYTES:
                await refusal(OversizedHeaders(MOST_HEADER_BYTES))(scope, receive, answer.send)
            else:
                await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            pass  # in the middle of what it sent; nobody is there to be answered
        except asyncio.CancelledError:
            # The server waited for it as long as it has patience, and cancels it to end.
            _log.warning("%s %s was not done when the server stopped", shown(scope["method"]), shown(scope["path"]))
            if answer.status is None:
                await refusal(ServerStopping())(scope, receive, answer.send)
        except Exception:
            number = secrets.token_hex(4)
            _log.exception("fault %s in %s %s", number, shown(scope["method"]), shown(scope["path"]))
            if answer.status is None:
                await refusal(ServerFailed(number))(scope, receive, answer.send)
            # What was begun and is not whole ends with the connection, which the server then closes.
        finally:
            self._running -= 1
            if self._logs_requests:
                _requests.info("%s", answer.line(scope))


def _header_bytes(scope: Scope) -> int:
    lines = sum(len(name) + len(value) for name, value in scope["headers"])
    return lines + len(scope["raw_path"]) + len(scope["query_string"])


class _Answer:
    """What is sent, with the headers that all have, and what the log says of it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began = time.monotonic()
        self._sent = 0
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        else:
            self._sent += message.get("count", 0) + len(message.get("body", b""))
        await self._send(message)

    def line(self, scope: Scope) -> str:
        """Word it. A query may have a signature in it, which is as good as a token: it is left out."""
        caller: Caller = scope.get("registry.caller", NOBODY)
        client = (scope.get("client") or ("-",))[0]
        took = 1000 * (time.monotonic() - self._began)
        what = f"{shown(scope['method'])} {shown(scope['path'])}"
        return f"{client} {caller.user or '-'} {what} {self.status or '-'} {self._sent} B {took:.0f} ms"
