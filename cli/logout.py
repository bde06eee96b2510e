"""``registry logout``."""

from __future__ import annotations

from typing import Annotated

import typer

from .rendering import say


def logout(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server's address, such as http://hub:8080.")],
) -> None:
    """Forget the token of a server. It stays valid there: `registry token revoke` ends it.

    Example: registry logout https://hub.lab.example
    """
    from registry.client.credentials import forget, origin_of

    forget(url)
    say(f"the token for {origin_of(url)} is forgotten here; `registry token revoke` on the server ends it")
