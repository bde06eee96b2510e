"""Running a server: its sockets, its processes, its end."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from registry.errors.requests import CannotListen

from .app import create_app
from .connection import Connection
from .envelope import MOST_HEADER_BYTES
from .settings import Settings

_M_ARENA_MAX = -8
"""Of glibc's ``mallopt``."""

_KEEP_ALIVE_SECONDS = 15


def listen(settings: Settings) -> socket.socket:
    """Return a socket at which a server can be reached.

    Raises:
        CannotListen: there is no such address here, it is in use, or this user may not have it.
    """
    host, port = settings.host, settings.port
    where = address(host, port)
    try:
        # A name that leads to both kinds of addresses is that of the older one, which all clients can reach.
        found = sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    except (OSError, UnicodeError) as error:
        raise CannotListen(where, f"{host!r} leads to no address; give --host one of this machine's") from error
    family, kind, protocol, _, place = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise CannotListen(where, _worded(error, port)) from error
    return listening


def _worded(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program uses the port {port}; stop it, or choose another one with --port (0 takes a free one)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"only root may use the port {port}; choose one from 1024 on, and have a reverse proxy pass on to it"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return "this machine does not have that address; give --host one of its own, or 0.0.0.0 for all"
    return f"{error.strerror or error}; choose another address"


def address(host: str, port: int) -> str:
    """Return the address of a server as one writes it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(settings: Settings, listening: socket.socket) -> None:
    """Serve until a signal ends it: running requests end, for as long as the settings have patience."""
    _log_to_standard_error()
    Connection.patience = settings.patience
    config = uvicorn.Config(
        f"{__name__}:app_of_environment",
        factory=True,
        # One implementation, whatever else is installed: the other one has no limit to the size of headers.
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.patience)),
        workers=settings.workers,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    with _told(settings), _signals_end(server):
        if settings.workers > 1:
            processes = Multiprocess(config, sockets=[listening])
            if server.should_exit:
                processes.should_exit.set()
            processes.run()
        else:
            server.run(sockets=[listening])


def app_of_environment() -> FastAPI:
    """Return the application of this process, which may be one of several."""
    settings = Settings.from_environment()
    _share_memory()
    _log_to_standard_error()
    Connection.patience = settings.patience
    return create_app(settings)


def _share_memory() -> None:
    """Have all threads take memory from two places; else each keeps one of its own, and what was ever in use there."""
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


@contextlib.contextmanager
def _told(settings: Settings) -> Iterator[None]:
    """Tell the processes that are started here what they serve."""
    told = settings.to_environment()
    os.environ.update(told)
    try:
        yield
    finally:
        for name in told:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _signals_end(server: uvicorn.Server) -> Iterator[None]:
    """Have signals end a server in order, also before it listens to them; it raises them again when all is done."""

    def end(number: int, frame: object) -> None:
        server.should_exit = True

    kept = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("registry.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
    logging.getLogger("registry.server").setLevel(logging.INFO)
