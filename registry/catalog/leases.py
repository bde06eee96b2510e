"""Leases as rows, for a catalog that several machines change: none of them sees the files and the processes of another.

A row says what a push is about to use until when. The push renews it while it runs; one that was killed stops, and its
row counts no longer. Time is the database's, which is one for all.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from registry.blobs.leases import Held, Lease, Leases
from registry.catalog import lease_statements
from registry.catalog.facts import storable
from registry.errors.root import RegistryError

if TYPE_CHECKING:
    from registry.catalog.database import Database
    from registry.catalog.lease_statements import LeaseRow

LEASE_SECONDS = 120
"""How long a row counts after it was renewed."""

RENEWAL_SECONDS = 20.0

_MARGIN_SECONDS = 10.0
"""By how much earlier its holder takes it for over than all others do."""


class LeaseTable:
    """The table of leases of one catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, lease: str, blobs: Iterable[str], doomed: Iterable[str], seconds: int) -> None:
        """Say what a lease claims, from now on for so many seconds; within the transaction of this thread, if any."""
        from registry.catalog.actor import creator

        with self._database.write() as connection:
            connection.run(lease_statements.FORGET)
            connection.run(
                lease_statements.CLAIM,
                id=lease,
                holder=storable(creator()),
                blobs=json.dumps(list(blobs)),
                doomed=json.dumps(list(doomed)),
                seconds=seconds,
            )

    def renew(self, lease: str, seconds: int) -> None:
        """Have a lease last from now on for so many seconds; one that is over stays so."""
        with self._database.write() as connection:
            connection.run(lease_statements.RENEW, lease=lease, seconds=seconds)

    def remove(self, lease: str) -> None:
        """Let go of a lease."""
        with self._database.write() as connection:
            connection.run(lease_statements.RELEASE, lease=lease)

    def held(self) -> Held:
        """Return what the leases say that are not over."""
        found = self._database.rows(lease_statements.HELD)
        blobs, doomed = (
            frozenset(digest for row in found for digest in _digests(row, key)) for key in ("blobs", "doomed")
        )
        return Held(frozenset(row.id for row in found), blobs, doomed)


class RowLease(Lease):
    """The row of one push, or of one collection, and what it has on its own machine."""

    def __init__(self, table: Callable[[], LeaseTable], local: Lease, seconds: int, renewal: float) -> None:
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
                self._table().remove(self.id)
        self._local.release()

    def _write(self) -> None:
        began = time.monotonic()
        self._table().write(self.id, self._blobs, self._doomed, self._seconds)
        self._until = began + self._seconds
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
            self._thread.start()

    def _keep(self) -> None:
        while not self._is_over.wait(self._renewal):
            began = time.monotonic()
            # Where the database is away for a while, the next time will do.
            with contextlib.suppress(RegistryError):
                self._table().renew(self.id, self._seconds)
                if self._until > began:
                    self._until = began + self._seconds


class RowLeases(Leases):
    """The rows of a catalog that machines share, and what this machine has besides for its own disk.

    Args:
        table: of the catalog as it is open now.
        local: leases of this machine, which its cache is trimmed by.
    """

    def __init__(
        self,
        table: Callable[[], LeaseTable],
        local: Leases,
        *,
        seconds: int = LEASE_SECONDS,
        renewal: float = RENEWAL_SECONDS,
    ) -> None:
        self._table = table
        self._local = local
        self._seconds = seconds
        self._renewal = renewal

    def lease(self) -> RowLease:
        return RowLease(self._table, self._local.lease(), self._seconds, self._renewal)

    def held(self) -> Held:
        here, everywhere = self._local.held(), self._table().held()
        return Held(here.ids | everywhere.ids, here.blobs | everywhere.blobs, here.doomed | everywhere.doomed)


def _digests(row: LeaseRow, key: str) -> Sequence[str]:
    """Return what a row lists; nothing where somebody edited it into something else."""
    try:
        found = json.loads(getattr(row, key))
    except (ValueError, TypeError):
        return ()
    return [str(digest) for digest in found] if isinstance(found, list) else ()
