"""From a reference to its entry, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, NoReturn

from registry.catalog import name_statements, statements
from registry.catalog.connection import Connection
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.listing import read
from registry.catalog.moves import end_of, moves
from registry.catalog.rows import MeasuredVersion
from registry.errors.catalog import (
    AmbiguousDigest,
    FileAsReference,
    NoLiveVersion,
    NothingThatDay,
    PurgedVersion,
    TrashedVersion,
    UnknownModel,
    UnknownVersion,
)
from registry.reference import Reference, is_named_like_a_file, with_colon


def resolve(database: Database, reference: Reference, trashed: bool) -> Entry:
    """Return the entry that a reference names, outside the trash or inside it.

    By a name that its model had before, it says so in a notice.
    """
    if reference.day is not None:
        reference = _dated(database, reference)
    rows = _rows(database, reference, trashed)
    if not rows:
        # Why not takes several statements, between which a model may be given another name.
        with database.snapshot():
            rows = _rows(database, reference, trashed)
            if not rows:
                if (now := _renamed(database, reference.name)) is not None:
                    entry = resolve(database, replace(reference, name=now), trashed)
                    return replace(entry, notices=(*entry.notices, notice(reference.name, now)))
                _refuse(database, reference, trashed)
    found = read(rows)
    if len(found) > 1 and len({entry.digest for entry in found}) > 1:
        raise AmbiguousDigest(str(reference), [entry.ref for entry in found])
    if rows[0].purged_at is not None:
        raise PurgedVersion(found[0].ref, rows[0].purged_at[:10])
    if found[0].trashed_at is not None and not trashed:
        raise TrashedVersion(found[0].ref)
    return found[0]


def _rows(database: Database, reference: Reference, trashed: bool) -> Sequence[MeasuredVersion]:
    """Return the rows of the versions that a reference names, by the name that it says alone."""
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
    return database.rows(statement, **parameters)


def current(database: Connection | Database, name: str) -> str:
    """Return what the model is called now that has a name, or had it before.

    Raises:
        UnknownModel: none has it, and none had.
    """
    if database.rows(statements.MODEL, name=name):
        return name
    now = _renamed(database, name)
    if now is None:
        refuse_unknown(database, name)
    return now


def names(database: Connection | Database, name: str) -> tuple[str, ...]:
    """Return all names of the model that is called so now: this one, then those that it had before."""
    return (name, *(row.name for row in database.rows(name_statements.FORMER_NAMES, name=name)))


def refuse_unknown(database: Connection | Database, name: str) -> NoReturn:
    """Say that no model has a name, and which are near.

    Raises:
        UnknownModel
    """
    known = [str(row.name) for row in database.rows(statements.MODEL_NAMES)]
    # The name without its namespace is what one remembers.
    spellings = {**{each.rpartition("/")[2]: each for each in known}, **{each: each for each in known}}
    if is_named_like_a_file(name) and name not in known:
        raise FileAsReference(name, database.place)
    near = [spellings[spelling] for spelling in get_close_matches(name, spellings, n=3)]
    model, _, word = name.rpartition("/")
    if model in known:
        near = [with_colon(name) or f"{model}:{word}"]
    raise UnknownModel(name, list(dict.fromkeys(near)), database.place)


def notice(name: str, now: str) -> str:
    """Word that a model is not called so any more."""
    return f"'{name}' is called '{now}' now"


def _renamed(database: Connection | Database, name: str) -> str | None:
    """Return what the model is called now that had a name before."""
    rows = database.rows(name_statements.RENAMED, former=name)
    return str(rows[0].name) if rows else None


def _dated(database: Database, reference: Reference) -> Reference:
    """Return the version to which an alias pointed at the end of a day, by the name of the reference."""
    assert reference.alias is not None and reference.day is not None
    alias, day = f"{reference.name}:{reference.alias}", reference.day
    known = names(database, current(database, reference.name))
    if day > datetime.now(UTC).date():
        raise NothingThatDay(str(reference), f"{day} is in the future", alias)
    until_then = next(moves(database, known, reference.alias, end=end_of(day)), None)
    if until_then is None or until_then.number is None:
        first = next(moves(database, known, reference.alias, oldest_first=True), None)
        if first is None:
            _refuse(database, reference, trashed=False)
        near = f"{alias}@{first.at[:10]}" if until_then is None else alias
        raise NothingThatDay(str(reference), f"{alias} pointed nowhere at the end of {day} (UTC)", near)
    return Reference(reference.name, version=until_then.number)


def _refuse(database: Database, reference: Reference, trashed: bool) -> NoReturn:
    """Say why a reference names nothing, and what is near."""
    name = current(database, reference.name)
    if trashed and reference.version is None and reference.alias is None:
        raise UnknownVersion(str(reference), f"no such version of {name} is in the trash", (), database.place)
    versions = database.rows(statements.VERSIONS_OF_MODEL, name=name)
    live = [row.number for row in versions if row.trashed_at is None]
    if reference.digest is not None:
        for row in versions:
            if row.weights.startswith(reference.digest) and row.purged_at is None:
                raise TrashedVersion(f"{name}:v{row.number}")
        raise UnknownVersion(str(reference), f"no version of {name} has such a digest", (), database.place)
    if reference.alias is not None:
        aliases = [row.name for row in database.rows(statements.ALIAS_NAMES, name=name)]
        near = get_close_matches(reference.alias, aliases, n=3)
        raise UnknownVersion(
            str(reference),
            f"{name} has no alias '{reference.alias}'",
            [f"{name}:{alias}" for alias in near],
            database.place,
        )
    if reference.version is None or not live:
        raise NoLiveVersion(name)
    near_number = min(live, key=lambda number: abs(number - (reference.version or 0)))
    has = (
        f"{name} has v{live[0]} alone"
        if len(live) == 1
        else f"the versions of {name} go from v{live[0]} to v{live[-1]}"
    )
    raise UnknownVersion(str(reference), has, [f"{name}:v{near_number}"], database.place)
