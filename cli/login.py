"""``registry login``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .rendering import say, warn


def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server's address, such as http://hub:8080.")],
) -> None:
    """Log in to a server: check a token, and keep it for this user.

    The token is asked for without being shown, or read from standard input. It is kept in a file that only this
    user can read; REGISTRY_TOKEN in the environment goes before it.

    Example: registry login https://hub.lab.example

    Example: registry login http://localhost:8080 < token.txt
    """
    from registry.client.credentials import remember
    from registry.client.login import whoami

    origin, who = whoami(url, _asked)
    path = remember(origin, who.token)
    say(f"logged in to {origin} as {who.user}: {who.role} on {', '.join(who.models)}")
    say(f"the token is kept in {path}")
    say(f"next:  REGISTRY_HOME={origin} registry list")


def _asked(origin: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(2000)
    import getpass

    warn(f"The token for {origin}, from `registry token add` on that machine; it is not shown:")
    return getpass.getpass("token: ")
