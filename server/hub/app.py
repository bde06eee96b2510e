"""The Hub's calls as one ASGI application, which answers what no other route of the server does."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry.errors.blobs import DamagedBlob
from registry.errors.requests import NoSuchPage
from registry.errors.root import RegistryError

from ..access import caller_of
from ..answers import address_of, refusal_of
from ..service import Service
from ..telling import told
from . import lfs, reading, writing
from .answers import Refusal, answer, refused
from .hub import Asked, Hub
from .routes import Call, call_of

_LARGEST_BODY = 16 << 20
"""Bytes of what is sent with a call, but for files."""
_READS = frozenset(reading.HANDLERS)
_HANDLERS = {**reading.HANDLERS, **writing.HANDLERS}


class HubApplication:
    """Answers the clients of the Hub, in their own terms."""

    def __init__(self, service: Service) -> None:
        self.hub = Hub(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        call = call_of(scope["method"], path.decode("latin-1"))
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        request = Request(scope, receive)
        try:
            if call is None:
                await refusal_of(NoSuchPage(scope["path"]), scope)(scope, receive, noted)
            elif call.kind == "lfs":
                await (await lfs.receive(self.hub, call, request))(scope, receive, noted)
            elif call.kind == "commit":
                await (await writing.commit(self.hub, call, _asked(request), request))(scope, receive, noted)
            else:
                asked = _asked(request, await small_body(request))
                try:
                    await (await self._answer(call, asked))(scope, receive, noted)
                except DamagedBlob:
                    # What is held in memory may be older than a repair, which moved it.
                    self.hub.snapshots.forget()
                    if has_begun or call.kind not in _READS:
                        raise
                    await (await self._answer(call, asked))(scope, receive, noted)
            return
        except Refusal as refused_here:
            said = refused_here
        except RegistryError as error:
            said = refused(
                told(error, caller_of(request), address_of(scope)), reads=call is None or call.kind in _READS
            )
        except ClientDisconnect:
            return
        if not has_begun:  # else the connection ends before the length that was announced
            await answer(said)(scope, receive, send)

    async def _answer(self, call: Call, asked: Asked) -> ASGIApp:
        return await run_in_threadpool(_HANDLERS[call.kind], self.hub, call, asked)

    def close(self) -> None:
        self.hub.close()


def _asked(request: Request, body: bytes = b"") -> Asked:
    headers = {name.lower(): value for name, value in request.headers.items()}
    query = dict(parse_qsl(request.url.query, keep_blank_values=True))
    base = address_of(request.scope)
    return Asked(caller_of(request), base, request.url.path, query, headers, body)


async def small_body(request: Request) -> bytes:
    """Return what was sent with a call.

    Raises:
        Refusal: it is larger than any such body is.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _LARGEST_BODY:
            raise Refusal(413, f"the body is larger than {_LARGEST_BODY} bytes")
        parts.append(part)
    return b"".join(parts)
