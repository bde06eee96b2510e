"""The body of a large request, which comes into memory of its own and past what parses HTTP.

uvicorn and h11 copy each byte five times, and hand over a quarter of a MiB at a time, which takes longer than to write
and to hash it. Here the socket is read into one piece until that is full. While the application works on a piece, no
other is read: what comes waits in the system, since two threads of one interpreter would wait for each other instead.
To the application it is the body that ASGI has.

Who only writes the body away says so by an extension. Then one thread reads, writes and reads on for as long as bytes
are there, into the same memory again and again, and the event loop hears how many they were: to go back and forth
between the two for each piece takes as long as the writing.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import select
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.types import Message
from uvicorn.protocols.http.flow_control import FlowControl

PIECE = 1 << 20
"""Bytes that are given at a time: more would not fit into a processor's cache."""

LARGE = 1 << 20
"""Bytes that have to come yet for a body to come this way."""

_SECONDS = 0.1
"""After which a part of a piece is given, too: who sends slowly is seen to send."""

_FAST = 0.02
"""Seconds in which a piece has to come for a thread to go on with the next; else the event loop waits for it."""

WRITING = "registry.request.write"
"""Of ASGI: in it a request has, as ``write``, what is called with each piece, which is only lent to it."""

_THREADS = ThreadPoolExecutor(40, thread_name_prefix="receiving")

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def write_body(request: Request, write: Callable[[memoryview], None]) -> memoryview:
    """Have other threads write a body away as it comes, and return the end of it, which is not written yet.

    Args:
        write: is called with one piece behind the other, which are only lent to it.

    Raises:
        ClientDisconnect: the client left.
        Exception: whatever ``write`` raises.
    """
    held = bytearray()

    def write_on(content: memoryview) -> None:
        nonlocal held
        if held:
            before, held = held, bytearray()
            write(memoryview(before))
        write(content)

    extension = request.scope.get("extensions", {}).get(WRITING, {})
    extension["write"] = write_on
    try:
        async for content in request.stream():
            if len(held) + len(content) < PIECE:
                held += content
            else:
                await in_thread(write_on, memoryview(content))
    finally:
        del extension["write"]
    return memoryview(held)


async def in_thread(function: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """Call a function in another thread, and do not go on before it has returned, not even to be canceled."""
    call = partial(contextvars.copy_context().run, function, *arguments, **named)
    returned = asyncio.wrap_future(_THREADS.submit(call))
    try:
        return await asyncio.shield(returned)
    except asyncio.CancelledError:
        while not returned.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([returned])
        returned.exception()  # nobody is there to be told, and asyncio asks that it was looked at
        raise


class LargeBody(asyncio.BufferedProtocol):
    """What is left of a body, as the protocol of its connection until the last byte is here.

    Args:
        connection: the protocol before, which hears of all else that happens.
        nbytes: that come yet.
        flow: of the connection.
        transport: of the connection.
    """

    def __init__(
        self, connection: asyncio.Protocol, nbytes: int, flow: FlowControl, transport: asyncio.Transport
    ) -> None:
        self._connection = connection
        self._left = nbytes
        self._flow = flow
        self._transport = transport
        self._memory = memoryview(bytearray(min(PIECE, nbytes)))
        self._held = 0
        self._ready = asyncio.Event()
        """There is something to give, or nothing comes any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self._at_end: Callable[[], None] | None = None

    async def receive(self, write: Callable[[memoryview], None] | None = None) -> Message:
        """Return the next piece; behind the last one, that nothing comes any more, once it was answered.

        Args:
            write: writes away what comes. Then what is returned has, as ``count``, how many bytes that were.

        Raises:
            Exception: whatever ``write`` raises.
        """
        if self._left:
            self._flow.resume_reading()
        await self._ready.wait()
        if self._is_over:
            return {"type": "http.disconnect"}
        self._ready.clear()
        socket = None if write is None else self._duplicate()
        if write is None or socket is None:
            content = bytes(self._memory[: self._held])
            self._held = 0
            return {"type": "http.request", "body": content, "more_body": self._left > 0}
        self._flow.pause_reading()
        try:
            count = await in_thread(self._write_on, socket, write)
        finally:
            os.close(socket)
        return {"type": "http.request", "count": count, "more_body": self._left > 0}

    def _duplicate(self) -> int | None:
        """Return a descriptor of the socket that is nobody else's when the connection ends; None if none is left."""
        try:
            return os.dup(self._transport.get_extra_info("socket").fileno())
        except OSError:
            return None

    def _write_on(self, socket: int, write: Callable[[memoryview], None]) -> int:
        """Write what is here, and go on for a moment if it comes fast; return how many bytes that were."""
        until = time.monotonic() + _SECONDS
        count = 0
        while self._held:
            nbytes, self._held = self._held, 0  # it is not given twice, also if it cannot be written
            write(self._memory[:nbytes])
            count += nbytes
            if nbytes == len(self._memory) and time.monotonic() < until:
                self._read_on(socket)
        return count

    def _read_on(self, socket: int) -> None:
        """Read the next piece, or what comes of it soon. That the client left is something for the event loop."""
        until = time.monotonic() + _FAST
        ready = select.poll()
        ready.register(socket, select.POLLIN)
        with contextlib.suppress(OSError):
            while self._left and self._held < len(self._memory) and time.monotonic() < until:
                nbytes = os.readv(socket, [self.get_buffer(-1)]) if ready.poll(1000 * _FAST) else 0
                if not nbytes:
                    return
                self._held += nbytes
                self._left -= nbytes

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
