"""Which pushes are running, so that a collection takes nothing that one of them is about to use.

A running push has a file ``running/<id>.json`` that says which process it is and which blobs it has written. A file
whose process is gone protects nothing any more, so a killed push leaves no lock behind. A process on another host
cannot be asked; its file counts for a day.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from registry.blobs.files import write_small

FOREIGN_HOST_SECONDS = 24 * 3600.0


@dataclass
class Running:
    """The file of one push."""

    path: Path
    blobs: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Say what the push has written so far; before a blob gets its name, so that no collection misses it."""
        record = {"host": _host(), "pid": os.getpid(), "started": _own_start(os.getpid()), "blobs": self.blobs}
        write_small(self.path, json.dumps(record).encode())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def alive(folder: Path) -> tuple[set[str], set[str]]:
    """Return the ids of the pushes that are running, and the blobs that they have written."""
    ids: set[str] = set()
    blobs: set[str] = set()
    for path in folder.glob("*.json"):
        record = _read(path)
        if record is not None and _is_alive(path, record):
            ids.add(path.stem)
            written = record.get("blobs")
            blobs.update(str(blob) for blob in (written if isinstance(written, Collection) else ()))
    return ids, blobs


def _read(path: Path) -> dict[str, object] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _is_alive(path: Path, record: dict[str, object]) -> bool:
    if record.get("host") != _host():
        try:
            return time.time() - path.stat().st_mtime < FOREIGN_HOST_SECONDS
        except OSError:
            return False
    pid = record.get("pid")
    return isinstance(pid, int) and record.get("started") == _started(pid)


@functools.lru_cache(maxsize=1)
def _own_start(pid: int) -> str | None:
    """Return when this process began; ``pid``, its own, is another one in a fork."""
    return _started(pid)


@functools.lru_cache(maxsize=1)
def _host() -> str:
    """Name this host in this boot: after a reboot no process of before is running."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}"


def _started(pid: int) -> str | None:
    """Return when a process began, which tells it from a later one with its number; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _exists(pid) if not Path("/proc/self/stat").exists() else None
    fields = stat.rpartition(")")[2].split()
    # A killed process that its parent has not waited for yet is still listed.
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"
