"""Who changes the catalog."""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Iterator
from contextvars import ContextVar

_acting: ContextVar[str | None] = ContextVar("acting", default=None)


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


@contextlib.contextmanager
def acting_as(user: str | None) -> Iterator[None]:
    """Change a catalog in somebody's name: what a server does for the user of a token."""
    token = _acting.set(user)
    try:
        yield
    finally:
        _acting.reset(token)
