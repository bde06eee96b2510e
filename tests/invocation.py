"""The command line as a process, and as a call that takes a hundredth of the time."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from registry.cli import main

COMMAND = [sys.executable, "-c", "from registry.cli import main; main()"]


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    stdout: str
    stderr: str
    code: int = 0


def run(*arguments: object, home: Path | str, expect: int | None = 0) -> Said:
    """Run one command to its end, which is the exit code expected, or any if None, and never another exception."""
    out, err = io.StringIO(), io.StringIO()
    words = ["registry", *map(str, arguments)]
    environment = {"REGISTRY_HOME": str(home)}
    code = 0
    with (
        patch.object(sys, "argv", words),
        patch.dict("os.environ", environment),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            assert end.code is None or isinstance(end.code, int), end.code
            code = end.code or 0
    assert expect is None or code == expect, out.getvalue() + err.getvalue()
    return Said(out.getvalue(), err.getvalue(), code)


def on_a_terminal(command: Sequence[str], *streams: str, **options: Any) -> str:
    """Return what a process draws that has a terminal in the place of its ``stdout``, its ``stderr``, or both."""
    ours, theirs = pty.openpty()
    given: dict[str, Any] = {**options, **dict.fromkeys(streams, theirs)}
    process = subprocess.Popen(command, **given)
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 4096):
            parts.append(part)
    except OSError:  # Linux says so when the other side is closed.
        pass
    os.close(ours)
    assert process.wait() == 0
    return b"".join(parts).decode()
