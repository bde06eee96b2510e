"""What comes from what: parents and bases, the versions of a training run, and what only some versions need."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from registry.catalog import lineage_statements as statements, page_rows, rows
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.listing import read


class Descent(NamedTuple):
    """What a version was made from."""

    ref: str
    uid: str
    """Of its model."""
    parent: str | None
    """Reference of the version it was trained from, as it was called then."""
    parent_uid: str | None
    parent_number: int | None
    parent_record: str | None
    """Which version that is; None of one that was pushed before this was known."""
    base: str | None
    """Digest of the weights that it is an adapter of."""

    @classmethod
    def of(cls, entry: Entry) -> Descent:
        """Return an entry's."""
        parent = (entry.parent, entry.parent_uid, entry.parent_number, entry.parent_record)
        return cls(entry.ref, entry.uid, *parent, entry.base)

    @classmethod
    def read(cls, row: rows.Descent | page_rows.DescentAt) -> Descent:
        """Return that of a row."""
        parent = (row.parent, row.parent_uid, row.parent_number, row.parent_record)
        return cls(f"{row.name}:v{row.number}", row.uid, *parent, row.base)


class Lineage:
    """What the catalog of a home tells of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def descents(self) -> tuple[Descent, ...]:
        """Return what every version outside the trash was made from, of those that say."""
        return tuple(map(Descent.read, self._database.rows(statements.DESCENTS)))

    def parent(self, entry: Entry) -> Entry | None:
        """Return the version that one says it was trained from, in the trash or not; None where it is not here."""
        if entry.parent_uid is None or entry.parent_number is None:
            return None
        found = read(
            self._database.rows(
                statements.BY_IDENTITY,
                uid=entry.parent_uid,
                number=entry.parent_number,
                record=entry.parent_record or "",
            )
        )
        return found[0] if found else None

    def children(self, entry: Entry, limit: int) -> tuple[Entry, ...]:
        """Return the newest versions outside the trash that say which version they were trained from: this one."""
        same = {"uid": entry.uid, "number": entry.version, "record": entry.record_digest}
        return read(self._database.rows(statements.CHILDREN, **same, limit=limit))

    def of_run(self, uid: str, run: str) -> tuple[Entry, ...]:
        """Return the versions of a model outside the trash that a training run pushed first, the newest first."""
        return read(self._database.rows(statements.OF_RUN, uid=uid, run=run))

    def pushed_by(self, entry: Entry) -> frozenset[str | None]:
        """Return the training runs that pushed a version, be it again; None among them is a push outside of any."""
        runs: set[str | None] = {entry.run}
        for row in self._database.rows(statements.PUSHED, uid=entry.uid, version=f":v{entry.version}"):
            details = json.loads(row.details)
            if details.get("reused"):
                runs.add(details.get("run"))
        return frozenset(runs)

    def models_with(self, blob: str) -> tuple[str, ...]:
        """Return the names of the models of which a version needs a blob."""
        return tuple(row.name for row in self._database.rows(statements.MODELS_WITH_BLOB, blob=blob))

    def freed(self, entries: Iterable[Entry]) -> int:
        """Return the bytes that no version outside the trash would need, were these versions of one model there."""
        these = list(entries)
        if not these:
            return 0
        seals = json.dumps([entry.seal for entry in these])
        return sum(row.nbytes for row in self._database.rows(statements.FREED, uid=these[0].uid, seals=seals))
