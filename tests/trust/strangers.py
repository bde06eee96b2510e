"""Homes that others can write to, versions that name what they like, and modules that tell when they run."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry import Registry
from registry.catalog.record import record_digest, seal

STRANGER = 54321
"""A user and a group that this process is not."""

TELLTALE = """
import os, pathlib
from torch import nn
traces = pathlib.Path(__file__).parent
with open(traces / "imported", "a") as file: file.write("x")
class Net(nn.Linear):
    def __init__(self, width=2):
        with open(traces / "built", "a") as file: file.write("x")
        super().__init__(width, width)
"""


def traces(folder: Path) -> set[str]:
    """Return what the telltale module in a folder did: ``imported``, ``built``."""
    return {name for name in ("imported", "built") if (folder / name).exists()}


def forget(folder: Path, *modules: str) -> None:
    """Remove the traces, and what this process has imported, so that an import would be one again."""
    for name in traces(folder):
        (folder / name).unlink()
    for module in modules:
        sys.modules.pop(module, None)


def edited(hub: Registry, ref: str, **columns: Any) -> None:
    """Change a version's row as whoever may write to the home can: with digests and an event that bear it out."""
    entry = hub.get(ref)
    manifest, documents = hub.catalog.manifest_and_documents(entry)
    changed = replace(entry, **columns)
    record = record_digest(changed, manifest, documents)
    texts = {
        name: value if isinstance(value, str) or value is None else json.dumps(value) for name, value in columns.items()
    }
    texts |= {"record": record, "seal": seal(entry.name, entry.version, record)}
    assignments = ", ".join(f"{name} = :{name}" for name in texts)
    with closing(sqlite3.connect(hub.home / "registry.db")) as connection, connection:
        connection.execute(f"UPDATE versions SET {assignments} WHERE number = {entry.version}", texts)
    hub.catalog.record_event("note", hub.get(ref))


def _everything(home: Path) -> list[Path]:
    return [home, *home.rglob("*")]


def _of_another_user(hub: Registry) -> None:
    for path in _everything(hub.home):
        os.chown(path, STRANGER, STRANGER)


def _database_of_another_user(hub: Registry) -> None:
    os.chown(hub.home / "registry.db", STRANGER, STRANGER)


def _of_a_group(hub: Registry) -> None:
    os.chown(hub.home, -1, STRANGER)
    hub.home.chmod(0o770)


def _of_everybody(hub: Registry) -> None:
    hub.home.chmod(0o777)


def _database_of_everybody(hub: Registry) -> None:
    (hub.home / "registry.db").chmod(0o666)


def _copied_in(hub: Registry) -> None:
    with closing(sqlite3.connect(hub.home / "registry.db")) as connection, connection:
        connection.execute("UPDATE versions SET origin = '/mnt/usb/home'")
    for entry in hub.list():
        hub.catalog.record_event("note", entry)


STRANGE: dict[str, Callable[[Registry], None]] = {
    "of another user": _of_another_user,
    "with another user's database": _database_of_another_user,
    "that a group may write": _of_a_group,
    "that everybody may write": _of_everybody,
    "with a database that everybody may write": _database_of_everybody,
    "with copied versions": _copied_in,
}
"""What makes a home one that others may have written, by how it is called."""

NEEDS_ROOT = ("of another user", "with another user's database", "that a group may write")


def estrange(hub: Registry, how: str) -> None:
    """Make a home one that others may have written."""
    if how in NEEDS_ROOT and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    STRANGE[how](hub)
