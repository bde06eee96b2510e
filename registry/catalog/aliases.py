"""Movable names of versions; where they pointed before is in the trail."""

from __future__ import annotations

from typing import Any

from registry.catalog import lookup, statements, trail
from registry.catalog.change import Change, HeldVersion
from registry.catalog.moves import before_the_last, moves
from registry.errors.catalog import CannotRollBack, TrashedVersion, UnknownVersion


def point(change: Change, version: HeldVersion, alias: str, *, is_back: bool = False) -> str | None:
    """Point an alias to a version, wherever it pointed before; with ``is_back``, to where it did.

    Returns:
        The version that it pointed to before, if that is another one.

    Raises:
        TrashedVersion: the version is in the trash.
    """
    if version.is_trashed:
        raise TrashedVersion(version.ref)
    was = change.connection.row(statements.ALIASED, name=version.name, alias=alias)
    if was is not None and was.id == version.id:
        return None
    change.connection.run(statements.POINT_ALIAS, model_id=version.model_id, name=alias, version_id=version.id)
    before = f"{version.name}:v{was.number}" if was is not None else None
    details: dict[str, Any] = {"alias": alias, "was": before}
    if is_back:
        details["rollback"] = True
    trail.append(change, "alias", version, details)
    return before


def roll_back(change: Change, name: str, alias: str) -> HeldVersion:
    """Point an alias to where it pointed before, by the trail, and return that version.

    Raises:
        CannotRollBack: it pointed nowhere else, or where it pointed is in the trash or gone.
    """
    connection, reference = change.connection, f"{name}:{alias}"
    number = before_the_last(moves(connection, lookup.names(connection, name), alias))
    if number is None:
        raise CannotRollBack(reference, "it pointed nowhere else before; `registry log` shows its moves")
    row = connection.row(statements.NUMBERED, name=name, number=number)
    where = f"it pointed to {name}:v{number} before"
    if row is None or row.purged_at is not None:
        raise CannotRollBack(reference, f"{where}, which is gone; point it elsewhere with `registry alias`")
    if row.trashed_at is not None:
        way = f"`registry restore {name}:v{number}` brings that back, and `registry alias` points it elsewhere"
        raise CannotRollBack(reference, f"{where}, which is in the trash; {way}")
    version = HeldVersion(row.id, row.model_id, name, number, row.weights)
    point(change, version, alias, is_back=True)
    return version


def drop(change: Change, name: str, alias: str) -> None:
    """Remove an alias.

    Raises:
        UnknownVersion: there is none.
    """
    was = change.connection.row(statements.ALIASED, name=name, alias=alias)
    if was is None:
        raise UnknownVersion(f"{name}:{alias}", f"{name} has no alias '{alias}'", (), change.connection.place)
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
