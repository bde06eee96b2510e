"""``registry serve``."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .rendering import number_of, say

if TYPE_CHECKING:
    from registry.server.settings import Settings


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Address to listen at; 0.0.0.0 for all of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8080,
    anonymous: Annotated[
        bool | None,
        typer.Option(
            "--anonymous/--no-anonymous",
            help="Whether anybody may read without a token. [default: on this machine's own address alone]",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-host",
            metavar="NAME",
            help="A name by which it is called, such as hub.lab.example or *.lab.example; may be repeated.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, max=64, help="Processes.")] = 1,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log every request on standard error.")] = False,
    home: options.Home = None,
) -> None:
    """Serve a registry to a group over HTTP, until Ctrl-C or SIGTERM.

    Who may do what is said with `registry token add`. For a group, put a reverse proxy with TLS in front.

    Example: registry serve

    Example: registry serve --host 0.0.0.0 --workers 4 --access-log

    Example: registry serve --no-anonymous --allowed-host hub.lab.example
    """
    from registry.errors.catalog import HomeUnusable
    from registry.errors.server import ExtraMissing
    from registry.home.place import HOME_VARIABLE, home_place

    try:
        from registry.server.running import listen, run
        from registry.server.service import Service
        from registry.server.settings import Settings
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("registry"):
            raise
        raise ExtraMissing("`registry serve`", "server") from error
    chosen = os.fspath(home) if home is not None else os.environ.get(HOME_VARIABLE, "")
    if chosen.startswith(("http:/", "https:/")):
        raise HomeUnusable(chosen, "a server serves a folder of this machine")
    folder = home_place(home, "--home").folder
    settings = Settings(folder, host, port, anonymous, tuple(allowed_host or ()), workers, access_log)
    listening = listen(settings)
    service = Service(settings)
    service.open()
    tokens = sum(each.revoked_at is None for each in service.home.database.tokens.all())
    service.close()
    _tell(settings, listening.getsockname()[1], tokens, "" if home is None else f" --home {shlex.quote(str(folder))}")
    sys.stdout.flush()
    run(settings, listening)
    say("stopped")


def _tell(settings: Settings, port: int, tokens: int, at: str) -> None:
    """Say where it is, and what to run next, here and elsewhere.

    Args:
        at: the option that names the home, where a command needs it.
    """
    import socket

    from registry.server.running import address

    is_everywhere = settings.host in ("0.0.0.0", "::")
    called = socket.gethostname() if is_everywhere else settings.host
    url = address(called, port)
    say(f"serving {settings.home} at {address(settings.host, port)}" + (f", that is {url}" if is_everywhere else ""))
    if settings.lets_anybody_read:
        say("anybody who reaches it may read; to push takes a token")
    elif not tokens:
        say("nobody may read yet: there is no token")
    say(f"give out a token ({number_of(tokens, 'token')} so far):  registry token add USER --role write{at}")
    where = "in another terminal" if settings.is_loopback else "on another machine"
    if not settings.is_loopback:
        say("tokens cross the network as they are: use a network that you trust, or TLS (docs/serving.md)")
        say(f"{where}:  export REGISTRY_ALLOW_HTTP=1   # for an address without TLS")
    say(f"{where}:  registry login {url}")
    say(f"{where}:  REGISTRY_HOME={url} registry list")
    say("stop it with Ctrl-C")
