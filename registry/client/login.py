"""Asking a server whose token something is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import urllib3

from registry.client.credentials import checked_token, origin_of, require_protection
from registry.client.reasons import reason_of
from registry.errors.server import WrongToken
from registry.errors.tokens import NoSuchServer

_SECONDS = 20.0


@dataclass(frozen=True)
class Login:
    """A token, and what its server says of it."""

    token: str
    user: str
    role: str
    models: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Login(token='…', user={self.user!r}, role={self.role!r}, models={self.models!r})"


def whoami(url: str, ask: Callable[[str], str]) -> tuple[str, Login]:
    """Return the origin of a server, and what it says of a token.

    Args:
        ask: called with the origin once it is known that a token may be sent there and a registry answers; gives one.

    Raises:
        RegistryError: it is no address or no registry, the token could be read on the way, or it is not valid.
    """
    origin = origin_of(url)
    require_protection(origin)
    _asked(origin, None)
    token = checked_token(ask(origin), "what was given")
    said = _asked(origin, token)
    if said.get("user") is None:
        raise WrongToken(origin)
    return origin, Login(token, str(said["user"]), str(said.get("role")), tuple(map(str, said.get("models", ()))))


def _asked(origin: str, token: str | None) -> dict[str, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        # Wherever else it says that it is: a token goes to the address that the user gave.
        with urllib3.PoolManager(retries=False, timeout=_SECONDS) as pool:
            answer = pool.request("GET", f"{origin}/api/v1/whoami", headers=headers, redirect=False)
            status, body = answer.status, answer.data
    except urllib3.exceptions.HTTPError as error:
        raise NoSuchServer(origin, reason_of(error)) from None
    if status == 401 and token is not None:
        raise WrongToken(origin)
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if status != 200 or not isinstance(said, dict) or "role" not in said:
        message = said.get("error", {}).get("message") if isinstance(said, dict) else None
        raise NoSuchServer(origin, f"it says: {message}" if message else "something else answers there")
    return said
