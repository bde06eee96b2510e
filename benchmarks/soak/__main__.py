"""Run one of them: ``python -m benchmarks.soak serve --minutes 10 --clients 16``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks import machine
from benchmarks.soak import large, serve, versions

_MATRICES = Path(__file__).parents[2] / "tests" / "durability" / "kill_points.py"


def main() -> int:
    """Run what was asked for; print what was found, one line each, and return 1 if it is not as it should be."""
    arguments = _parser().parse_args()
    _say(f"{machine.described()}, load {os.getloadavg()[0]:.1f}")
    if arguments.what == "kill":
        return subprocess.run([sys.executable, str(_MATRICES)]).returncode
    with tempfile.TemporaryDirectory(prefix="registry-soak-", dir=arguments.folder) as place:
        folder = Path(place)
        if arguments.what == "serve":
            faults = serve.run(folder, minutes=arguments.minutes, clients=arguments.clients, say=_say)
        elif arguments.what == "large":
            faults = large.run(folder, gigabytes=arguments.gigabytes, say=_say)
        else:
            faults = versions.run(folder, count=arguments.count, say=_say)
    return _judged(faults)


def _judged(faults: Iterable[str]) -> int:
    found = list(faults)
    for fault in found:
        _say(f"FAULT: {fault}")
    _say(f"load {os.getloadavg()[0]:.1f}; " + ("as it should be" if not found else f"{len(found)} faults"))
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="What takes minutes to hours.")
    parser.add_argument("--folder", help="work on this disk instead of the one of temporary files")
    kinds = parser.add_subparsers(dest="what", required=True)
    kind = kinds.add_parser("serve", help="clients that push, load, alias, remove and are killed, at one server")
    kind.add_argument("--minutes", type=float, default=10.0)
    kind.add_argument("--clients", type=int, default=16)
    kinds.add_parser("kill", help="every verb killed at every call, and at every system call")
    kind = kinds.add_parser("large", help="one large checkpoint: pushed, loaded, copied; memory stays flat")
    kind.add_argument("--gigabytes", type=float, default=10.0)
    kind = kinds.add_parser("versions", help="very many versions: looked up, searched, pushed to, collected")
    kind.add_argument("--count", type=int, default=1_000_000)
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
