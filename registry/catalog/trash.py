"""The way out of the catalog: into the trash, back from it, or, by a collection, for good."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from registry.catalog import aliases, blobs, event_statements, lookup, statements, trail
from registry.catalog.change import Change, HeldVersion
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.errors.catalog import AliasedVersion, NeededBase, NotInTrash, TrashedVersion


@dataclass(frozen=True)
class Removed:
    """Versions that were put into the trash."""

    versions: tuple[Entry, ...]
    nbytes: int
    """Bytes that no version outside the trash needs any more: what a collection frees that empties it of these."""


@dataclass(frozen=True)
class Trashed:
    """What it meant to put versions into the trash."""

    nbytes: int
    """As of ``Removed``."""
    aliases: Mapping[str, Sequence[str]]
    """Those that pointed to them and were dropped, by reference."""


_PURGED = (statements.PURGE_NEEDS, statements.PURGE_DOCUMENTS, statements.PURGE_METRICS, statements.PURGE_TAGS)


def trash(change: Change, version: HeldVersion, force: bool) -> list[str]:
    """Put a version into the trash, and return the aliases that pointed to it and were dropped.

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
    change.connection.run(statements.CHANGE_VERSION, version=version.id, trashed_at=change.at)
    trail.append(change, "rm", version, {"aliases": pointing} if pointing else None)
    return pointing


def check_bases(change: Change, removed: Sequence[HeldVersion]) -> None:
    """Refuse that live adapters lose their base: no live version has its weights any more.

    Raises:
        NeededBase
    """
    for version in removed:
        if change.connection.row(statements.WITH_WEIGHTS, weights=version.weights) is None:
            adapters = change.connection.rows(statements.LIVE_ADAPTERS, base=version.weights)
            if adapters:
                raise NeededBase(version.ref, [f"{row.name}:v{row.number}" for row in adapters])


def freed(change: Change, removed: Sequence[HeldVersion]) -> int:
    """Return the bytes of the blobs that these versions in the trash need and no live one: what a collection frees."""
    needs: dict[str, int] = {}
    for version in removed:
        rows = change.connection.rows(statements.NEEDED_BY_TRASH_ALONE, version=version.id)
        needs |= {row.digest: row.nbytes for row in rows}
    return sum(needs.values())


def restore(change: Change, version: HeldVersion) -> list[str]:
    """Take a version out of the trash, with the aliases that it lost, and return what there is to say of these.

    One that points to another version by now stays there.

    Raises:
        NotInTrash
    """
    if not version.is_trashed:
        raise NotInTrash(version.ref)
    change.connection.run(statements.CHANGE_VERSION, version=version.id, trashed_at=None)
    trail.append(change, "restore", version)
    said = []
    for alias in _lost(change, version):
        now = change.connection.row(statements.ALIASED, name=version.name, alias=alias)
        if now is None:
            aliases.point(change, replace(version, is_trashed=False), alias)
            said.append(f"{version.name}:{alias} points to it again")
        elif now.id != version.id:
            said.append(f"{version.name}:{alias}, which it lost, points to {version.name}:v{now.number} now")
    return said


def _lost(change: Change, version: HeldVersion) -> list[str]:
    """Return the aliases that were dropped when a version was last put into the trash."""
    references = [f"{name}:v{version.number}" for name in lookup.names(change.connection, version.name)]
    event = change.connection.row(event_statements.last_removal(references))
    try:
        kept = json.loads(event.details).get("aliases") if event is not None else None
    except (ValueError, TypeError, AttributeError):  # an audit says that the event was edited
        return []
    return [alias for alias in kept if isinstance(alias, str)] if isinstance(kept, list) else []


def due(database: Database, before: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return what a purge would take, and the blobs that the other versions need."""
    rows = database.rows(statements.TRASHED_BEFORE, before=before)
    needed = database.rows(statements.NEEDED_BY_OTHERS, before=before)
    stay = frozenset(row.digest for row in needed) | blobs.named(database, before)
    return tuple(f"{row.name}:v{row.number}" for row in rows), stay


def purge(change: Change, before: str) -> tuple[str, ...]:
    """Give up what the versions hold that were put into the trash before a time, and return their references.

    Their rows stay, so that their numbers are never used again; the blobs that nobody else needs can be forgotten.
    """
    purged = []
    for row in change.connection.rows(statements.TRASHED_BEFORE, before=before):
        version = HeldVersion(row.id, row.model_id, row.name, row.number, row.weights, is_trashed=True)
        for statement in _PURGED:
            change.connection.run(statement, version=row.id)
        change.connection.run(statements.CHANGE_VERSION, version=row.id, purged_at=change.at)
        trail.append(change, "gc", version)
        purged.append(version.ref)
    return tuple(purged)
