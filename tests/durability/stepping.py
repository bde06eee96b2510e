"""Fault injection: a forked process that kills itself at its n-th step towards the disk, or towards a server.

Three ways to count. ``calls``: Python's functions that change files, and every SQL statement. ``system calls``: what
the C library is asked for, SQLite's own writes included, each also torn in the middle; it needs a C compiler and a
process started with ``environment(library)``. ``requests``: what a database on a server and a bucket are asked for,
before it is sent and, where it changes something, after the answer.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = (
    *("write", "pwrite", "fsync", "fdatasync", "ftruncate", "posix_fallocate", "fchmod"),
    *("open", "rename", "replace", "link", "unlink", "mkdir", "rmdir"),
)
SOURCE = Path(__file__).with_name("stepping.c")


def survives(action: Callable[[], object], step: int, arm: Callable[[int], None]) -> bool:
    """Run an action in a forked process that dies at a step; return whether it got to its end before that."""
    child = os.fork()
    if child == 0:
        try:
            arm(step)
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, f"the action failed by itself before step {step}"
    return True


def arm_calls(step: int) -> None:
    """Make this process die before the n-th call, counted from 1."""
    left = step

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            count()
            return function(*arguments, **options)

        return call

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = real_connect(*arguments, **options)
        connection.set_trace_callback(count)
        return connection

    def write_bytes(path: Path, content: bytes) -> int:
        count()
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            count()
            return file.write(content[len(content) // 2 :])

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    real_connect = sqlite3.connect
    sqlite3.connect = connect  # type: ignore[assignment]
    Path.write_bytes = write_bytes  # type: ignore[assignment,method-assign]


def arm_requests(step: int) -> None:
    """Make this process die at its n-th request of a database on a server or of a bucket, counted from 1."""
    at_each_request(step, lambda: os.kill(os.getpid(), signal.SIGKILL))


def at_each_request(step: int, act: Callable[[], object]) -> None:
    """Have something done at the n-th request that this process sends, counted from 1."""
    import obstore
    import psycopg

    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            act()

    def counted(function: Callable[..., Any], changes: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            count()
            answer = function(*arguments, **options)
            if changes:
                count()
            return answer

        return call

    for name in ("head", "get_range", "get_ranges", "list", "put", "copy", "delete"):
        setattr(obstore, name, counted(getattr(obstore, name), name in ("put", "copy", "delete")))
    psycopg.Cursor.execute = counted(psycopg.Cursor.execute, False)
    psycopg.Connection.commit = counted(psycopg.Connection.commit, True)


def arm_system_calls(step: int) -> None:
    """Make this process die at its n-th system call that changes a file, counted from 1."""
    ctypes.CDLL(None).die_at_step(ctypes.c_long(step))


def build_library(folder: Path) -> Path | None:
    """Compile what counts system calls; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "stepping.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def environment(library: Path) -> dict[str, str]:
    """Return the environment of a process whose system calls are to be counted."""
    return {**os.environ, "LD_PRELOAD": str(library)}
