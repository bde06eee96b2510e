"""Hosts that share one catalog and one bucket, each with a cache of its own.

The catalog is in a folder that all see; or, where the hosts' folder has a ``registry.toml``, where that says, and each
host has a home of its own with a copy of it.
"""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from homes import AT_ONCE, check_whole

from registry import Registry

HOSTS, PUSHERS = 4, 8
ROUNDS = int(os.environ.get("RACE_ROUNDS", "4"))
STRIDE = int(os.environ.get("KILL_STRIDE", "6"))
SECONDS = 240.0

Job = Callable[[Registry], object]


def both(first: Job, second: Job) -> Job:
    """Return a job that does one thing and then another."""

    def job(hub: Registry) -> None:
        first(hub)
        second(hub)

    return job


class Hosts:
    """Where they all look, and what each has for itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "registry.toml"

    def home(self, host: int | str) -> Path:
        """Return the home that a host has, or the one of all."""
        if not self.shared.exists():
            return self.folder / "home"
        own = self.folder / f"host-{host}" / "home"
        own.mkdir(parents=True, exist_ok=True)
        copy = own / f"{os.getpid()}.toml"  # whole or not at all, since others of this host may be reading it
        shutil.copy(self.shared, copy)
        copy.replace(own / "registry.toml")
        return own

    def start(self, host: int | str, job: Job, arm: Callable[[], None] = lambda: None) -> int:
        """Begin a job on a host, and return its process."""
        child = os.fork()
        if child:
            return child
        try:
            os.environ["HOME"] = str(self.folder / f"host-{host}")
            hub = Registry(self.home(host))
            hub._home.make()
            hub.store._young_seconds = 0.0  # type: ignore[attr-defined]
            leases = hub.store._cache.leases  # type: ignore[attr-defined]
            leases._seconds, leases._renewal = 12, 1.0  # as for the days of a user, too long for a test
            arm()
            job(hub)
            hub.close()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def run(self, host: int | str, job: Job) -> None:
        assert os.waitpid(self.start(host, job), 0)[1] == 0

    def side_by_side(self, *jobs: tuple[int | str, Job]) -> None:
        children = [self.start(host, job) for host, job in jobs]
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(jobs)

    def check(self) -> None:
        """All is whole, for a host that has nothing in its cache; and nothing is in the bucket that nobody needs."""
        shutil.rmtree(self.folder / "host-empty", ignore_errors=True)
        self.run("empty", check_whole)
        self.run("empty", _check_collected)


def _check_collected(hub: Registry) -> None:
    until = time.monotonic() + SECONDS
    while hub.gc(grace=AT_ONCE).files or hub.catalog.leases.held().ids:
        assert time.monotonic() < until, hub.catalog.leases.held()
        time.sleep(0.5)
    there = {found.digest for found in hub.store._objects.list()}  # type: ignore[attr-defined]
    assert there == hub.catalog.referenced_blobs() == set(hub.catalog.known_blobs())


def wait_for(folder: Path, *names: str) -> None:
    until = time.monotonic() + SECONDS
    while not all((folder / name).exists() for name in names):
        assert time.monotonic() < until, f"there is no {names}"
        time.sleep(0.1)
