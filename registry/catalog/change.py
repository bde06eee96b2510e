"""A change of the catalog in progress, and the version that it is about."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.catalog import statements
from registry.catalog.connection import Connection
from registry.catalog.entry import Entry
from registry.errors.catalog import ChangedVersion, PurgedVersion


@dataclass(frozen=True)
class Change:
    """A transaction that holds the write lock: by whom, and when it began."""

    connection: Connection
    actor: str
    at: str
    """ISO 8601, in UTC."""
    client: str | None = None
    """What the program of the actor says that it runs as, where that is another one than this."""
    told: dict[int, str] = field(default_factory=dict)
    """Digests of the facts of versions, by their ids, as the events of this change told them."""


@dataclass(frozen=True)
class HeldVersion:
    """A version's row, which nobody else can change while the lock is held."""

    id: int
    model_id: int
    name: str
    number: int
    weights: str
    is_trashed: bool = False

    @property
    def ref(self) -> str:
        return f"{self.name}:v{self.number}"


def hold(change: Change, entry: Entry) -> HeldVersion:
    """Look an entry up again, now that nobody else can change it.

    Raises:
        ChangedVersion: its row has other weights, or is not there.
        PurgedVersion: it was collected meanwhile.
    """
    row = change.connection.row(statements.VERSION, uid=entry.uid, number=entry.version)
    if row is None or row.weights != entry.digest:
        raise ChangedVersion(entry.ref)
    if row.purged_at is not None:
        raise PurgedVersion(entry.ref, row.purged_at[:10])
    return HeldVersion(row.id, row.model_id, row.name, entry.version, row.weights, row.trashed_at is not None)
