"""Where an alias pointed once: what its moves, which are in the trail, say of a day and of before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from registry.catalog import event_statements
from registry.catalog.connection import Connection
from registry.catalog.database import Database
from registry.errors.catalog import DatabaseDamaged


@dataclass(frozen=True)
class Move:
    """An alias was pointed somewhere, or removed."""

    at: str
    """ISO 8601, in UTC."""
    number: int | None
    """Of the version; None where it was removed."""
    is_back: bool = False
    """Whether it was rolled back there."""


def moves(database: Connection | Database, names: Sequence[str], alias: str) -> tuple[Move, ...]:
    """Read the moves of an alias, the oldest first, of the model that has and had these names."""
    found = []
    for row in database.rows(event_statements.moves(names, alias)):
        try:
            details = json.loads(row.details)
            if details["alias"] == alias:
                number = int(str(row.reference).rpartition(":v")[2]) if row.verb == "alias" else None
                found.append(Move(row.at, number, bool(details.get("rollback"))))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatabaseDamaged("the catalog", f"somebody edited event {row.id}", "backups in the home") from error
    return tuple(found)


def at_end_of(day: date, made: Sequence[Move]) -> int | None:
    """Return the number of the version to which an alias pointed when a day ended in UTC; None for none."""
    end = (day + timedelta(days=1)).isoformat()
    return next((move.number for move in reversed(made) if move.at < end), None)


def before(made: Sequence[Move]) -> int | None:
    """Return the number of the version to which an alias pointed before it was moved to where it is; None for none.

    As one undoes: after it was rolled back, this is one further back, and never where it was rolled back from. Where it
    was removed, this is where it pointed last.
    """
    stack: list[int] = []
    is_there = False
    for move in made:
        if move.number is None:
            is_there = False
            continue
        if move.is_back:
            while stack and stack[-1] != move.number:
                stack.pop()
        if not stack or stack[-1] != move.number:
            stack.append(move.number)
        is_there = True
    if is_there:
        stack.pop()
    return stack[-1] if stack else None
