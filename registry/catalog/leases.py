"""Leases as rows of the catalog that machines share. Time is the database's, which is one for all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from registry.blobs.leases import Held
from registry.blobs.shared_leases import LeaseTable
from registry.catalog import lease_statements
from registry.catalog.facts import storable

if TYPE_CHECKING:
    from registry.catalog.database import Database
    from registry.catalog.lease_statements import LeaseRow


class LeaseRows(LeaseTable):
    """The table of leases of one catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, lease: str, blobs: Iterable[str], doomed: Iterable[str], seconds: int) -> None:
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
        with self._database.write() as connection:
            connection.run(lease_statements.RENEW, lease=lease, seconds=seconds)

    def remove(self, lease: str) -> None:
        with self._database.write() as connection:
            connection.run(lease_statements.RELEASE, lease=lease)

    def held(self) -> Held:
        found = self._database.rows(lease_statements.HELD)
        blobs, doomed = (
            frozenset(digest for row in found for digest in _digests(row, key)) for key in ("blobs", "doomed")
        )
        return Held(frozenset(row.id for row in found), blobs, doomed)


def _digests(row: LeaseRow, key: str) -> Sequence[str]:
    """Return what a row lists; nothing where somebody edited it into something else."""
    try:
        found = json.loads(getattr(row, key))
    except (ValueError, TypeError):
        return ()
    return [str(digest) for digest in found] if isinstance(found, list) else ()
