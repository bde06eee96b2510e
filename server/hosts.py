"""By which names a server is called.

A page elsewhere can have its own name lead to this machine, and then make the browser of a user here send requests.
What they have, and cannot change, is that name in ``Host``. An address is no name: no name server gives it out.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from registry.errors.requests import ForeignHost

from .answers import refusal
from .settings import Settings

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


def names_of(settings: Settings) -> frozenset[str]:
    """Return the names of a server: its own, this machine's, and those that it was started with."""
    return frozenset(
        each.lower() for each in ("localhost", settings.host, socket.gethostname(), *settings.allowed_hosts)
    )


def is_called(host: str, names: frozenset[str] | Sequence[str]) -> bool:
    """Whether a ``Host`` header names the server: by an address, a name, or one below ``*.lab.example``."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "*" in names or any(
            name == each or (each.startswith("*.") and name.endswith(each[1:])) for each in names
        )
    return True


class HostGuard:
    """Refuses requests that name another server."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            if not is_called(host, self._names):
                await refusal(ForeignHost(host))(scope, receive, send)
                return
        await self._app(scope, receive, send)
