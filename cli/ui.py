"""``registry ui``."""

from __future__ import annotations

import sys
import threading
import webbrowser
from typing import Annotated

import typer

from . import options
from .rendering import say


def ui(
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 0,
    open_browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open the browser; the address is printed anyway.")
    ] = True,
    home: options.Home = None,
) -> None:
    """Look at a registry in the browser, until Ctrl-C. Only programs on this machine reach it.

    Where the home is a server, its own pages are opened.

    Example: registry ui

    Example: registry ui --no-browser --port 8081
    """
    from registry.errors.server import ExtraMissing
    from registry.home.home import Home
    from registry.home.place import home_place

    place = home_place(home, "--home")
    if isinstance(place.address, str):
        say(f"{place.address} is a server, which has these pages itself")
        if open_browser:
            webbrowser.open(place.address)
        return
    try:
        from registry.server.running import address, listen, run
        from registry.server.settings import Settings
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("registry"):
            raise
        raise ExtraMissing("`registry ui`", "server") from error
    looked_at = Home(place.folder, source=place.source)
    looked_at.database.names()  # to look makes none
    looked_at.close()
    settings = Settings(place.folder, port=port)
    listening = listen(settings)
    url = address(settings.host, listening.getsockname()[1])
    say(f"{settings.home} is at {url}; stop it with Ctrl-C")
    sys.stdout.flush()
    if open_browser:
        # The socket listens already: what asks now is answered when the server is up.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    run(settings, listening)
    say("stopped")
