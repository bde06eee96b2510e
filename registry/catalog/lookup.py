"""From a reference to its entry, or to the reason why there is none."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NoReturn

from registry.catalog import statements
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.listing import read
from registry.errors.catalog import (
    AmbiguousDigest,
    NoLiveVersion,
    PurgedVersion,
    TrashedVersion,
    UnknownModel,
    UnknownVersion,
)
from registry.reference import Reference


def resolve(database: Database, reference: Reference, trashed: bool) -> Entry:
    """Return the entry that a reference names, outside the trash or inside it."""
    parameters: dict[str, Any] = {"name": reference.name}
    if reference.version is not None:
        statement = statements.BY_NUMBER
        parameters["number"] = reference.version
    elif reference.alias is not None:
        statement = statements.BY_ALIAS
        parameters["alias"] = reference.alias
    elif reference.digest is not None:
        statement = statements.BY_DIGEST_IN_TRASH if trashed else statements.BY_DIGEST
        parameters |= {"low": reference.digest, "high": f"{reference.digest}g"}
    else:
        statement = statements.NEWEST_IN_TRASH if trashed else statements.NEWEST
    rows = database.rows(statement, **parameters)
    found = read(rows)
    if not found:
        _refuse(database, reference, trashed)
    if len(found) > 1 and len({entry.digest for entry in found}) > 1:
        raise AmbiguousDigest(str(reference), [entry.ref for entry in found])
    if rows[0].purged_at is not None:
        raise PurgedVersion(found[0].ref, rows[0].purged_at[:10])
    if found[0].trashed_at is not None and not trashed:
        raise TrashedVersion(found[0].ref)
    return found[0]


def check_known(database: Database, name: str) -> None:
    """Refuse a name that no model has.

    Raises:
        UnknownModel
    """
    names = [row.name for row in database.rows(statements.MODEL_NAMES)]
    if name not in names:
        raise UnknownModel(name, get_close_matches(name, names, n=3))


def _refuse(database: Database, reference: Reference, trashed: bool) -> NoReturn:
    """Say why a reference names nothing, and what is near."""
    name = reference.name
    check_known(database, name)
    if trashed and reference.version is None and reference.alias is None:
        raise UnknownVersion(str(reference), f"no such version of {name} is in the trash", ())
    versions = database.rows(statements.VERSIONS_OF_MODEL, name=name)
    live = [row.number for row in versions if row.trashed_at is None]
    if reference.digest is not None:
        for row in versions:
            if row.weights.startswith(reference.digest) and row.purged_at is None:
                raise TrashedVersion(f"{name}:v{row.number}")
        raise UnknownVersion(str(reference), f"no version of {name} has such a digest", ())
    if reference.alias is not None:
        aliases = [row.name for row in database.rows(statements.ALIAS_NAMES, name=name)]
        near = get_close_matches(reference.alias, aliases, n=3)
        raise UnknownVersion(
            str(reference), f"{name} has no alias '{reference.alias}'", [f"{name}:{alias}" for alias in near]
        )
    if reference.version is None or not live:
        raise NoLiveVersion(name)
    near_number = min(live, key=lambda number: abs(number - (reference.version or 0)))
    raise UnknownVersion(
        str(reference), f"the versions of {name} go from v{live[0]} to v{live[-1]}", [f"{name}:v{near_number}"]
    )
