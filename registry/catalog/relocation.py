"""All rows of a catalog in another database, under the ids that they have: for a registry that moves.

The trail says how far a copy has come: where its end is an event of the source, the other side has what the source had
then, and the rest is copied. One that went on by itself is another registry by now, and is left alone.
"""

from __future__ import annotations

import enum

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.exc import DBAPIError, StatementError

from registry.catalog import bookkeeping, event_statements, schema, trail
from registry.catalog.catalog import Catalog
from registry.catalog.connection import Connection
from registry.catalog.database import Database
from registry.errors.moving import NotTheSame, OtherRegistry, UnmovableRow

_AT_ONCE = 500
"""Rows that are held at a time."""

_OF_THE_TRAIL = (schema.EVENTS, schema.TRAIL)
"""They only grow."""

_MOMENTARY = ("leases",)
"""Of pushes that run; they belong to the place where they run."""


class Standing(enum.Enum):
    """How far a move has come."""

    BEFORE = "the other side is empty, or has what this one had once"
    AFTER = "this side refuses changes, and the other one has gone on"


def standing(source: Catalog, target: Catalog) -> Standing:
    """Compare the ends of two trails.

    Raises:
        OtherRegistry: the target is not a copy of the source, or was changed although the source was not moved.
    """
    here, there = trail.end(source._database), trail.end(target._database)
    if _has_event(source._database, *there):
        return Standing.BEFORE
    if is_moved(source) and _has_event(target._database, *here):
        return Standing.AFTER
    raise OtherRegistry(source.where, target.where)


def are_one(source: Catalog, target: Catalog) -> bool:
    """Whether two catalogs are one database."""
    return source._database.backend.identity == target._database.backend.identity


def is_moved(catalog: Catalog) -> bool:
    """Whether a catalog refuses changes since its rows are elsewhere."""
    return catalog._database.is_moved


def relocate(source: Catalog, target: Catalog, to: str) -> None:
    """Make the target's tables say what the source's do, check them, and have the source refuse changes from then on.

    Args:
        to: what the source says that it became.

    Raises:
        OtherRegistry: as ``standing``.
        UnmovableRow, NotTheSame: a row cannot be stored there, or the books say otherwise there; nothing was changed.
    """
    here, there = source._database, target._database
    with here.write() as from_connection:
        books = bookkeeping.check(here)
        with there.write() as to_connection:
            # Again, now that nobody can change either.
            if standing(source, target) is Standing.BEFORE:
                there.backend.refuse_changes(to_connection.of_engine, None)
                _copy(from_connection, to_connection, trail.end(there)[0])
                there.backend.count_on(to_connection.of_engine, _tables())
                if trail.end(here) != trail.end(there) or bookkeeping.check(there) != books:
                    raise NotTheSame(source.where, target.where)
        here.backend.refuse_changes(from_connection.of_engine, to)


def _tables() -> list[Table]:
    return [table for table in schema.METADATA.sorted_tables if table.name not in _MOMENTARY]


def _copy(source: Connection, target: Connection, events: int) -> None:
    replaced = [table for table in _tables() if table not in _OF_THE_TRAIL]
    for table in reversed(replaced):
        target.of_engine.execute(delete(table))
    for table in replaced:
        _copy_table(source, target, table, 0)
    _copy_table(source, target, schema.EVENTS, events)
    (end,) = source.of_engine.execute(select(schema.TRAIL)).all()
    target.of_engine.execute(update(schema.TRAIL).values(length=end.length, hash=end.hash))


def _copy_table(source: Connection, target: Connection, table: Table, after: int) -> None:
    chosen = select(table).order_by(*table.primary_key)
    if after:
        chosen = chosen.where(table.c.id > after)
    rows = source.of_engine.execute(chosen.execution_options(yield_per=_AT_ONCE))
    for some in rows.partitions():
        try:
            target.of_engine.execute(insert(table), [dict(row._mapping) for row in some])
        except (DBAPIError, StatementError) as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            raise UnmovableRow(table.name, str(getattr(error, "orig", None) or error).partition("\n")[0]) from error


def _has_event(database: Database, number: int, hash_of: str) -> bool:
    if number == 0:
        return True
    rows = database.rows(event_statements.HASH_OF, number=number)
    return bool(rows) and rows[0].hash == hash_of
