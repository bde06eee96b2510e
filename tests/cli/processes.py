"""The command line as whole processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-c", "from registry.cli import main; main()"]


def run(*arguments: object, home: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, which is never a traceback."""
    environment = {**os.environ, "REGISTRY_HOME": str(home)}
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=environment)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done
