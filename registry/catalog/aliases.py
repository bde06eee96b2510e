"""Movable names of versions; where they pointed before is in the trail."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select

from registry.catalog import trail
from registry.catalog.change import Change, Held
from registry.catalog.listing import ALIASES, MODELS, VERSIONS
from registry.errors.catalog import TrashedVersion, UnknownVersion

_WAS = (
    select(VERSIONS.c.id, VERSIONS.c.model_id, VERSIONS.c.number, VERSIONS.c.weights)
    .join(ALIASES, ALIASES.c.version_id == VERSIONS.c.id)
    .join(MODELS, MODELS.c.id == ALIASES.c.model_id)
    .where(MODELS.c.name == bindparam("model"), ALIASES.c.name == bindparam("alias"))
)
_POINT = insert(ALIASES).prefix_with("OR REPLACE")
_DROP = delete(ALIASES).where(ALIASES.c.model_id == bindparam("model"), ALIASES.c.name == bindparam("alias"))
_OF_VERSION = select(ALIASES.c.name).where(ALIASES.c.version_id == bindparam("version")).order_by(ALIASES.c.name)


def point(change: Change, version: Held, alias: str) -> None:
    """Point an alias to a version, wherever it pointed before.

    Raises:
        TrashedVersion: the version is in the trash.
    """
    if version.is_trashed:
        raise TrashedVersion(version.ref)
    was = change.connection.row(_WAS, {"model": version.name, "alias": alias})
    if was is not None and was.id == version.id:
        return
    change.connection.run(_POINT, {"model_id": version.model_id, "name": alias, "version_id": version.id})
    details = {"alias": alias, "was": f"{version.name}:v{was.number}" if was else None}
    trail.append(change, "alias", version, details)


def drop(change: Change, name: str, alias: str) -> None:
    """Remove an alias.

    Raises:
        UnknownVersion: there is none.
    """
    was = change.connection.row(_WAS, {"model": name, "alias": alias})
    if was is None:
        raise UnknownVersion(f"{name}:{alias}", f"{name} has no alias '{alias}'", ())
    _remove(change, Held(was.id, was.model_id, name, was.number, was.weights), alias)


def drop_all(change: Change, version: Held) -> None:
    """Remove the aliases of a version."""
    for alias in of(change, version):
        _remove(change, version, alias)


def of(change: Change, version: Held) -> list[str]:
    """Return the aliases that point to a version."""
    return [row.name for row in change.connection.rows(_OF_VERSION, {"version": version.id})]


def _remove(change: Change, version: Held, alias: str) -> None:
    change.connection.run(_DROP, {"model": version.model_id, "alias": alias})
    trail.append(change, "unalias", version, {"alias": alias})
