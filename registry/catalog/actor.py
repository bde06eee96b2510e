"""Who changes the catalog."""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Iterator
from contextvars import ContextVar

_acting: ContextVar[str | None] = ContextVar("acting", default=None)
_client: ContextVar[str | None] = ContextVar("client", default=None)


def creator() -> str:
    """Return the user that this thread or task acts for, else ``user@host``."""
    return _acting.get() or local_user()


def local_user() -> str:
    """Return ``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def client() -> str | None:
    """Return the ``user@host`` that the program says it runs as for which this thread or task acts, or None."""
    return _client.get()


@contextlib.contextmanager
def acting_as(user: str | None, client: str | None = None) -> Iterator[None]:
    """Change a catalog in somebody's name: what a server does for the user of a token.

    Args:
        client: what the user's program says of itself; nothing proves it, so the trail has it beside the user.
    """
    tokens = _acting.set(user), _client.set(client)
    try:
        yield
    finally:
        _acting.reset(tokens[0])
        _client.reset(tokens[1])
