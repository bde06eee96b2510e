"""Leases that other machines see: none of them sees the files and the processes of another.

A table that all reach says what a push is about to use, until when. The push renews that while it runs; one that was
killed stops, and soon it counts no longer.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from typing import Protocol

from registry.blobs.leases import Held, Lease, Leases
from registry.errors.root import RegistryError

LEASE_SECONDS = 120
"""How long a lease counts after it was renewed."""

RENEWAL_SECONDS = 20.0

_MARGIN_SECONDS = 10.0
"""By how much earlier its holder takes it for over than all others do."""


class LeaseTable(Protocol):
    """What the machines share, by one clock. All may raise a RegistryError, where it cannot be reached."""

    def write(self, lease: str, blobs: Iterable[str], doomed: Iterable[str], seconds: int) -> None:
        """Say what a lease claims, from now on for so many seconds; under the catalog's lock where that is held."""

    def renew(self, lease: str, seconds: int) -> None:
        """Have a lease last from now on for so many seconds; one that is over stays so."""

    def remove(self, lease: str) -> None:
        """Let go of a lease."""

    def held(self) -> Held:
        """Return what the leases say that are not over."""


class SharedLease(Lease):
    """What one push, or one collection, has in the table, and on its own machine."""

    def __init__(self, table: LeaseTable, local: Lease, seconds: int, renewal: float) -> None:
        self._table = table
        self._local = local
        self._seconds = seconds
        self._renewal = renewal
        self._blobs: list[str] = []
        self._doomed: list[str] = []
        self._until = float("-inf")
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def id(self) -> str:
        return self._local.id

    @property
    def is_held(self) -> bool:
        return time.monotonic() < self._until - min(_MARGIN_SECONDS, self._seconds / 4)

    def claim(self, *blobs: str) -> None:
        self._local.claim(*blobs)
        self._blobs += blobs
        self._write()

    def doom(self, blobs: Iterable[str]) -> None:
        blobs = list(blobs)
        self._local.doom(blobs)
        self._doomed += blobs
        self._write()

    def release(self) -> None:
        self._is_over.set()
        if self._thread is not None:
            with contextlib.suppress(RegistryError):  # it ends by itself
                self._table.remove(self.id)
        self._local.release()

    def _write(self) -> None:
        began = time.monotonic()
        self._table.write(self.id, self._blobs, self._doomed, self._seconds)
        self._until = began + self._seconds
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
            self._thread.start()

    def _keep(self) -> None:
        while not self._is_over.wait(self._renewal):
            began = time.monotonic()
            # Where the database is away for a while, the next time will do.
            with contextlib.suppress(RegistryError):
                self._table.renew(self.id, self._seconds)
                if self._until > began:
                    self._until = began + self._seconds


class SharedLeases(Leases):
    """The leases of all machines, and what this one has besides for its own disk.

    Args:
        table: what they share.
        local: leases of this machine, which its cache is trimmed by.
    """

    def __init__(
        self,
        table: LeaseTable,
        local: Leases,
        *,
        seconds: int = LEASE_SECONDS,
        renewal: float = RENEWAL_SECONDS,
    ) -> None:
        self._table = table
        self._local = local
        self._seconds = seconds
        self._renewal = renewal

    def lease(self) -> SharedLease:
        return SharedLease(self._table, self._local.lease(), self._seconds, self._renewal)

    def held(self) -> Held:
        here, everywhere = self._local.held(), self._table.held()
        return Held(here.ids | everywhere.ids, here.blobs | everywhere.blobs, here.doomed | everywhere.doomed)
