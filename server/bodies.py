"""How much a request may bring, and how slowly."""

from __future__ import annotations

import asyncio
import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry.errors.requests import OversizedBody, SlowRequest

from .access import NOBODY, Caller, Role
from .answers import refusal

_MIB = 1 << 20
STREAMED = 1 << 40
"""Bytes of a piece of a file, which goes to the disk as it comes; who may send one is asked before it is read."""
OF_WRITERS = 64 * _MIB
"""Bytes of anything else by somebody who may write: it is read whole, as a manifest and a commit are."""
OF_COMMITS = 256 * _MIB
"""Bytes of a commit of a Hub's client: it is read line by line, and each file in it goes to the disk."""
OF_OTHERS = _MIB
"""Bytes of anything else: what a reader asks is short."""

_PIECE = re.compile(r"/api/(v1/uploads|lfs)/")
_COMMIT = re.compile(r"/api/models/[^/]+(/[^/]+)?/commit/")
_SLOWEST = 1024
"""Bytes a second, over all that came."""


def most_of(method: str, path: str, caller: Caller) -> int:
    """Return how many bytes a request's body may have."""
    if method == "PUT" and _PIECE.match(path):
        return STREAMED
    if caller.role >= Role.WRITE and _COMMIT.match(path):
        return OF_COMMITS
    return OF_WRITERS if caller.role >= Role.WRITE else OF_OTHERS


class Bodies:
    """Refuses bodies that are too large or come too slowly; a route that reads one meets the error."""

    def __init__(self, app: ASGIApp, patience: float) -> None:
        self._app = app
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = most_of(scope["method"], scope["path"], scope.get("registry.caller", NOBODY))
        announced = Headers(scope=scope).get("content-length")
        if announced is not None and int(announced) > most:
            await refusal(OversizedBody(most))(scope, receive, send)
            return
        await self._app(scope, _Body(receive, most, self._patience).receive, send)


class _Body:
    def __init__(self, receive: Receive, most: int, patience: float) -> None:
        self._receive = receive
        self._most = most
        self._patience = patience
        self._began = time.monotonic()
        self._received = 0
        self._is_over = False

    async def receive(self) -> Message:
        """Return the next part.

        Raises:
            OversizedBody, SlowRequest: it is too much, or too slow.
        """
        if self._is_over:  # what comes then is that the client went away, whenever that is
            return await self._receive()
        # A byte now and then keeps nobody: twice the patience, and then as much as came.
        allowed = 2 * self._patience + self._received / _SLOWEST
        left = self._began + allowed - time.monotonic()
        try:
            async with asyncio.timeout(min(self._patience, left)):
                message = await self._receive()
        except TimeoutError:
            self._is_over = True
            raise SlowRequest(self._received) from None
        self._received += message.get("count", 0) + len(message.get("body", b""))
        self._is_over = not message.get("more_body", False)
        if self._received > self._most:
            raise OversizedBody(self._most)
        return message
