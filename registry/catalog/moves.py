"""Where an alias pointed once: what its moves, which are in the trail, say of a day and of before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
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


_NO_END = "~"
"""After every time."""


def moves(
    database: Connection | Database, names: Sequence[str], alias: str, *, end: str = _NO_END, oldest_first: bool = False
) -> Iterator[Move]:
    """Read the moves of an alias of the model that has and had these names, the newest first, as far as they are asked.

    Args:
        end: only those that were made before this time.
    """
    statement = event_statements.moves(names, alias, oldest_first=oldest_first)
    edge = -(2**63) if oldest_first else 2**63 - 1
    while rows := database.rows(statement, edge=edge, end=end):
        edge = rows[-1].id
        for row in rows:
            try:
                details = json.loads(row.details)
                if details["alias"] == alias:
                    number = int(str(row.reference).rpartition(":v")[2]) if row.verb == "alias" else None
                    yield Move(row.at, number, bool(details.get("rollback")))
            except (ValueError, TypeError, KeyError) as error:
                raise DatabaseDamaged(
                    "the catalog", f"somebody edited event {row.id}", "backups in the home"
                ) from error


def end_of(day: date) -> str:
    """Return before which time a day is, in UTC."""
    return (day + timedelta(days=1)).isoformat()


def before_the_last(made: Iterable[Move]) -> int | None:
    """Return ``before`` of moves that come with the newest first, and take no more of them than that needs.

    The newest moves tell the upper end of what there is to undo, so that a number which they give is the answer.
    """
    newest: list[Move] = []
    for move in made:
        newest.append(move)
        # A power of two, so that all that is replayed is no more than twice what is read.
        if len(newest).bit_count() == 1 and (number := before(newest[::-1])) is not None:
            return number
    return before(newest[::-1])


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
