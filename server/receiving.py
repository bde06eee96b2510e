"""The body of a large request, which comes into memory of its own and past what parses HTTP.

uvicorn and h11 copy each byte five times, and hand over a quarter of a MiB at a time, which takes longer than to write
and to hash it. Here the socket is read into one piece until that is full. While the application works on a piece, no
other is read: what comes waits in the system, since two threads of one interpreter would wait for each other instead.
To the application it is the body that ASGI has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Message
from uvicorn.protocols.http.flow_control import FlowControl

PIECE = 1 << 20
"""Bytes that are given at a time: more would not fit into a processor's cache."""

LARGE = 1 << 20
"""Bytes that have to come yet for a body to come this way."""

_SECONDS = 0.1
"""After which a part of a piece is given, too: who sends slowly is seen to send."""


class LargeBody(asyncio.BufferedProtocol):
    """What is left of a body, as the protocol of its connection until the last byte is here.

    Args:
        connection: the protocol before, which hears of all else that happens.
        nbytes: that come yet.
        flow: of the connection.
    """

    def __init__(self, connection: asyncio.Protocol, nbytes: int, flow: FlowControl) -> None:
        self._connection = connection
        self._left = nbytes
        self._flow = flow
        self._memory = memoryview(bytearray(min(PIECE, nbytes)))
        self._held = 0
        self._ready = asyncio.Event()
        """There is something to give, or nothing comes any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self._at_end: Callable[[], None] | None = None

    async def receive(self) -> Message:
        """Return the next piece; behind the last one, that nothing comes any more, once it was answered."""
        if self._left:
            self._flow.resume_reading()
        await self._ready.wait()
        if self._is_over:
            return {"type": "http.disconnect"}
        self._ready.clear()
        content = bytes(self._memory[: self._held])
        self._held = 0
        return {"type": "http.request", "body": content, "more_body": self._left > 0}

    def end(self, then: Callable[[], None]) -> None:
        """Give nothing more, since it was answered, and say when the last byte has come, which may be now."""
        self._held = 0
        self._at_end = then
        self._end()
        if not self._left:
            then()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._memory[self._held : self._held + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._at_end is not None:
            if not self._left:
                self._at_end()
            return
        if not self._held:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._ready.set)
        self._held += nbytes
        if not self._left or self._held == len(self._memory):
            self._flow.pause_reading()
            self._wait_no_more()
            self._ready.set()

    def eof_received(self) -> bool | None:
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def _end(self) -> None:
        self._is_over = True
        self._wait_no_more()
        self._ready.set()

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
