"""Freeze a home at this program's revision, as what a later one must be able to open.

``python tests/durability/freeze.py`` writes ``fixtures/home-<revision>.tar.gz``; each is written once, when a revision
is released, and never again.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from homes import AT_ONCE, push

from registry import Registry
from registry.catalog.migration import HEAD

FIXTURES = Path(__file__).with_name("fixtures")


def fill(hub: Registry) -> None:
    """Make what the tables can hold: versions, aliases, metrics, notes, trash, what was collected, a shared blob."""
    push(hub, 1, aliases=["best"], parent=None, world_size=8)
    push(hub, 2, parent="net:v1")
    push(hub, 3)
    push(hub, 4)
    push(hub, 1, name="other", aliases=["best", "last"])
    hub.alias("net:v2", "last")
    hub.rm("net:v3")
    hub.gc(grace=AT_ONCE)
    hub.rm("net:v4")


def main() -> None:
    """Write the fixture, if there is none of this revision yet."""
    target = FIXTURES / f"home-{HEAD}.tar.gz"
    if target.exists():
        sys.exit(f"{target} is there already, and what is frozen stays so")
    folder = Path(tempfile.mkdtemp())
    os.chdir(folder)  # away from the checkout, whose commit would be recorded
    try:
        hub = Registry(folder / "home")
        fill(hub)
        hub.catalog.close()
        FIXTURES.mkdir(exist_ok=True)
        with tarfile.open(target, "w:gz") as archive:
            archive.add(folder / "home", "home")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
