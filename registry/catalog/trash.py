"""The way out of the catalog: into the trash, back from it, or, by a collection, for good."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select, update

from registry.catalog import aliases, trail
from registry.catalog.admission import DOCUMENTS
from registry.catalog.blobs import NEEDS
from registry.catalog.change import Change, Held
from registry.catalog.listing import IN_TRASH, METRICS, MODELS, VERSIONS
from registry.errors.catalog import AliasedVersion, NotInTrash, TrashedVersion

_MARK = update(VERSIONS).where(VERSIONS.c.id == bindparam("version")).values(trashed_at=bindparam("at"))
_PURGE = update(VERSIONS).where(VERSIONS.c.id == bindparam("version")).values(purged_at=bindparam("at"))
_OLD = (
    select(VERSIONS.c.id, VERSIONS.c.model_id, MODELS.c.name, VERSIONS.c.number, VERSIONS.c.weights)
    .join(MODELS, MODELS.c.id == VERSIONS.c.model_id)
    .where(IN_TRASH, VERSIONS.c.trashed_at < bindparam("before"))
    .order_by(VERSIONS.c.id)
)
_EMPTY = tuple(delete(part).where(part.c.version_id == bindparam("version")) for part in (NEEDS, DOCUMENTS, METRICS))


def trash(change: Change, version: Held, force: bool) -> None:
    """Put a version into the trash.

    Raises:
        TrashedVersion: it is there already.
        AliasedVersion: an alias points to it, and it was not forced.
    """
    if version.is_trashed:
        raise TrashedVersion(version.ref)
    pointing = aliases.of(change, version)
    if pointing and not force:
        raise AliasedVersion(version.ref, pointing)
    aliases.drop_all(change, version)
    change.connection.run(_MARK, {"version": version.id, "at": change.at})
    trail.append(change, "rm", version)


def restore(change: Change, version: Held) -> None:
    """Take a version out of the trash.

    Raises:
        NotInTrash
    """
    if not version.is_trashed:
        raise NotInTrash(version.ref)
    change.connection.run(_MARK, {"version": version.id, "at": None})
    trail.append(change, "restore", version)


def purge(change: Change, before: str) -> tuple[str, ...]:
    """Give up what the versions hold that were put into the trash before a time, and return their references.

    Their rows stay, so that their numbers are never used again; the blobs that nobody else needs can be forgotten.
    """
    purged = []
    for row in change.connection.rows(_OLD, {"before": before}):
        version = Held(row.id, row.model_id, row.name, row.number, row.weights, is_trashed=True)
        for statement in _EMPTY:
            change.connection.run(statement, {"version": row.id})
        change.connection.run(_PURGE, {"version": row.id, "at": change.at})
        trail.append(change, "gc", version)
        purged.append(version.ref)
    return tuple(purged)
