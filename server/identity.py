"""Each request is somebody's before any route is asked, and what it changes is changed in that name."""

from __future__ import annotations

import asyncio
import re
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from registry.catalog.actor import acting_as
from registry.errors.requests import ForeignOrigin, InvalidRequest
from registry.errors.root import RegistryError
from registry.errors.server import WrongToken

from .access import NOBODY, Caller
from .answers import refusal_of
from .service import Service
from .sessions import COOKIE

CLIENT = "registry-client"
"""Header in which a program says as whom it runs: ``ann@laptop``."""

_CLIENT = re.compile(r"[!-~]{1,128}")
_SAFE = ("GET", "HEAD", "OPTIONS")
_OF_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_OPEN = ("/healthz",)
"""What is answered whoever asks, and with whatever token."""


class Identity:
    """Finds out who sends a request, refuses wrong tokens and what pages of other sites send."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._noting: dict[int, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            caller = NOBODY if scope["path"] in _OPEN else await self._caller(scope, headers)
        except RegistryError as error:
            await refusal_of(error, scope)(scope, receive, send)
            return
        scope["registry.caller"] = caller
        if self._service.access.is_due(caller):
            self._note_use(caller)
        with acting_as(caller.user, _client(headers) if caller.user is not None else None):
            await self._app(scope, receive, send)

    async def _caller(self, scope: Scope, headers: Headers) -> Caller:
        access = self._service.access
        given = headers.getlist("authorization")
        if len(given) > 1:
            raise InvalidRequest("it has several Authorization headers; send one")
        if given:
            return await run_in_threadpool(access.caller, given[0])
        cookie = _session(headers)
        check_origin(scope, headers, is_needed=cookie is not None)
        if cookie is not None:
            try:
                return await run_in_threadpool(access.caller_of_session, cookie)
            except WrongToken:
                pass  # it is over: its browser is anybody's, and may log in again
        if self._service.settings.anonymous is None and any(each in headers for each in _OF_PROXIES):
            # Nobody said that anybody may read, and this one does not come from this machine.
            return NOBODY
        return access.anonymous

    def _note_use(self, caller: Caller) -> None:
        """Note it beside the request, which may have to wait for a lock."""
        number = caller.token.number if caller.token is not None else 0
        if number in self._noting:
            return
        task: asyncio.Task[Any] = asyncio.ensure_future(run_in_threadpool(self._service.access.note_use, caller))
        self._noting[number] = task
        task.add_done_callback(lambda _: self._noting.pop(number, None))


def check_origin(scope: Scope, headers: Headers, *, is_needed: bool) -> None:
    """Let pass what this server's own pages send, and what no page sends.

    A browser says of every request that may change something from which page it comes, and no page can keep it from it.

    Args:
        is_needed: whether a browser must have sent it, since there is a cookie.

    Raises:
        ForeignOrigin: a page of another site made a browser send it.
    """
    origin = headers.get("origin")
    if scope["method"] in _SAFE or (origin is None and not is_needed):
        return
    if origin is None or origin.lower() != f"{scope['scheme']}://{headers.get('host', '')}".lower():
        raise ForeignOrigin(origin)


def _session(headers: Headers) -> str | None:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return None
    found = cookies.get(COOKIE)
    return None if found is None else found.value


def _client(headers: Headers) -> str | None:
    given = headers.get(CLIENT, "")
    return given if _CLIENT.fullmatch(given) else None
