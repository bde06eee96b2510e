"""Movable names of versions; where they pointed before is in the trail."""

from __future__ import annotations

from registry.catalog import statements, trail
from registry.catalog.change import Change, HeldVersion
from registry.errors.catalog import TrashedVersion, UnknownVersion


def point(change: Change, version: HeldVersion, alias: str) -> None:
    """Point an alias to a version, wherever it pointed before.

    Raises:
        TrashedVersion: the version is in the trash.
    """
    if version.is_trashed:
        raise TrashedVersion(version.ref)
    was = change.connection.row(statements.ALIASED, name=version.name, alias=alias)
    if was is not None and was.id == version.id:
        return
    change.connection.run(statements.POINT_ALIAS, model_id=version.model_id, name=alias, version_id=version.id)
    details = {"alias": alias, "was": f"{version.name}:v{was.number}" if was else None}
    trail.append(change, "alias", version, details)


def drop(change: Change, name: str, alias: str) -> None:
    """Remove an alias.

    Raises:
        UnknownVersion: there is none.
    """
    was = change.connection.row(statements.ALIASED, name=name, alias=alias)
    if was is None:
        raise UnknownVersion(f"{name}:{alias}", f"{name} has no alias '{alias}'", ())
    _remove(change, HeldVersion(was.id, was.model_id, name, was.number, was.weights), alias)


def drop_all(change: Change, version: HeldVersion) -> None:
    """Remove the aliases of a version."""
    for alias in of(change, version):
        _remove(change, version, alias)


def of(change: Change, version: HeldVersion) -> list[str]:
    """Return the aliases that point to a version."""
    return [row.name for row in change.connection.rows(statements.ALIASES_OF_VERSION, version=version.id)]


def _remove(change: Change, version: HeldVersion, alias: str) -> None:
    change.connection.run(statements.DROP_ALIAS, model=version.model_id, alias=alias)
    trail.append(change, "unalias", version, {"alias": alias})
