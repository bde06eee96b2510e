"""Who changes the catalog."""

from __future__ import annotations

import getpass
import socket


def creator() -> str:
    """Return ``user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
