"""Functions of these programs in processes of their own: ``python -m benchmarks.children pkg.mod:function JSON``."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_STATUS = Path("/proc/self/status")

COMMAND = "import sys; from registry.cli import main; sys.exit(main())"
"""What ``run_python`` runs as ``registry``, with its arguments."""


def start(target: str, /, **arguments: Any) -> subprocess.Popen[str]:
    """Start ``"pkg.mod:function"`` with keyword arguments; what it returns comes as JSON, after its own lines."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.children", target, json.dumps(arguments)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def result(child: subprocess.Popen[str]) -> Any:
    """Wait for a child and return what its function returned.

    Raises:
        RuntimeError: it failed.
    """
    output, _ = child.communicate()
    if child.returncode:
        raise RuntimeError(f"a measuring process ended with exit code {child.returncode}")
    return json.loads(output.splitlines()[-1])


def run_python(code: str, *arguments: str, **variables: str) -> None:
    """Run a program as a whole process, its output thrown away.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**environment(), **variables}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()[-300:]}")


def environment() -> dict[str, str]:
    """Return the environment in which a child finds these programs from any folder, compiled as an installed one is."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))}


class PeakMemory:
    """The most anonymous memory that this process had inside the block, beyond what it had before."""

    def __init__(self) -> None:
        self._before = anonymous_bytes()
        self._most = self._before
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def nbytes(self) -> int:
        """The peak, in bytes."""
        return max(self._most, anonymous_bytes()) - self._before

    def _sample(self) -> None:
        while not self._ended.wait(0.001):
            self._most = max(self._most, anonymous_bytes())


def anonymous_bytes() -> int:
    """Return this process's anonymous memory: what no file backs, so that the system cannot take it back."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def give_back_freed_memory() -> None:
    """Have the C library give back what was freed and it still holds; elsewhere than with glibc it stays."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def can_measure_memory() -> bool:
    """Whether the system tells it."""
    return _STATUS.exists() and "RssAnon" in _STATUS.read_text()


def main() -> None:
    """Run the function that the parent named."""
    target, arguments = sys.argv[1:]
    module, _, name = target.partition(":")
    returned = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    sys.stdout.write(f"\n{json.dumps(returned)}\n")


if __name__ == "__main__":
    main()
