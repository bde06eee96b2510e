"""``registry serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .rendering import say


def serve(
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8080,
    home: options.Home = None,
) -> None:
    """Serve a registry to a group over HTTP.

    Example: registry serve

    Example: registry serve --host 0.0.0.0 --port 8080
    """
    from registry.errors.server import ExtraMissing
    from registry.home.home import home_folder

    try:
        import uvicorn

        from registry.server.app import create_app
        from registry.server.settings import Settings
    except ModuleNotFoundError as error:
        raise ExtraMissing("`registry serve`", "server") from error
    settings = Settings(home_folder(home), host, port)
    say(f"serving {settings.home} at http://{host}:{port}")
    uvicorn.run(create_app(settings), host=host, port=port, log_level="warning")
