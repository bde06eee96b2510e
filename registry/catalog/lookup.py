"""From a reference to its entry, or to the reason why there is none."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NoReturn

from sqlalchemy import Select, bindparam, select

from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.listing import ALIASES, IN_TRASH, IS_LIVE, MODELS, VERSIONS, read, whole
from registry.errors.catalog import (
    AmbiguousDigest,
    NoLiveVersion,
    PurgedVersion,
    TrashedVersion,
    UnknownModel,
    UnknownVersion,
)
from registry.reference import Reference

_MODEL = select(MODELS.c.id).where(MODELS.c.name == bindparam("name")).scalar_subquery()
_OF_MODEL = select(VERSIONS.c.id).where(VERSIONS.c.model_id == _MODEL)
_IS_NUMBER = VERSIONS.c.number == bindparam("number")
_HAS_DIGEST = (VERSIONS.c.weights >= bindparam("low")) & (VERSIONS.c.weights < bindparam("high"))

BY_NUMBER = whole(_OF_MODEL.where(_IS_NUMBER))
_BY_ALIAS = whole(
    select(ALIASES.c.version_id.label("id")).where(ALIASES.c.model_id == _MODEL, ALIASES.c.name == bindparam("alias"))
)


def _newest(state: Any) -> Select[Any]:
    return whole(_OF_MODEL.where(state).order_by(VERSIONS.c.number.desc()).limit(1))


def _by_digest(state: Any) -> Select[Any]:
    return whole(_OF_MODEL.where(state, _HAS_DIGEST))


_NEWEST, _NEWEST_TRASHED = _newest(IS_LIVE), _newest(IN_TRASH)
_BY_DIGEST, _BY_DIGEST_TRASHED = _by_digest(IS_LIVE), _by_digest(IN_TRASH)


def resolve(database: Database, reference: Reference, trashed: bool) -> Entry:
    """Return the entry that a reference names, outside the trash or inside it."""
    parameters: dict[str, Any] = {"name": reference.name}
    if reference.version is not None:
        statement = BY_NUMBER
        parameters["number"] = reference.version
    elif reference.alias is not None:
        statement = _BY_ALIAS
        parameters["alias"] = reference.alias
    elif reference.digest is not None:
        statement = _BY_DIGEST_TRASHED if trashed else _BY_DIGEST
        # 'g' sorts after every hexadecimal digit, so these bounds are the prefix, by the index.
        parameters |= {"low": reference.digest, "high": f"{reference.digest}g"}
    else:
        statement = _NEWEST_TRASHED if trashed else _NEWEST
    rows = database.rows(statement, parameters)
    found = read(rows)
    if not found:
        _refuse(database, reference)
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
    names = [row.name for row in database.rows(select(MODELS.c.name))]
    if name not in names:
        raise UnknownModel(name, get_close_matches(name, names, n=3))


def _refuse(database: Database, reference: Reference) -> NoReturn:
    """Say why a reference names nothing, and what is near."""
    name = reference.name
    check_known(database, name)
    versions = database.rows(
        select(VERSIONS.c.number, VERSIONS.c.weights, VERSIONS.c.trashed_at, VERSIONS.c.purged_at)
        .join(MODELS)
        .where(MODELS.c.name == name)
        .order_by(VERSIONS.c.number)
    )
    live = [row.number for row in versions if row.trashed_at is None]
    if reference.digest is not None:
        for row in versions:
            if row.weights.startswith(reference.digest) and row.purged_at is None:
                raise TrashedVersion(f"{name}:v{row.number}")
        raise UnknownVersion(str(reference), f"no version of {name} has such a digest", ())
    if reference.alias is not None:
        aliases = [row.name for row in database.rows(select(ALIASES.c.name).join(MODELS).where(MODELS.c.name == name))]
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
