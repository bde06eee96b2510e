"""The command line as a process, and as a call that takes a hundredth of the time."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from registry.cli import main

COMMAND = [sys.executable, "-c", "from registry.cli import main; main()"]


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    stdout: str
    stderr: str
    code: int = 0


def run(*arguments: object, home: Path, expect: int | None = 0) -> Said:
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
