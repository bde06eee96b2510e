"""One connection: SQLAlchemy writes the statements, once each, and the driver runs them.

SQLAlchemy's own execution costs five times what SQLite takes for such small statements, while everybody waits for the
write lock. No column needs its conversions: all are integers, floats, texts and bytes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql.elements import ClauseElement

_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")


class Connection:
    """A connection of the driver in autocommit mode, and the transaction that may be open on it."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.driver = driver

    def rows(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """Run a statement that reads, and return its rows as named tuples."""
        prepared = _prepare(statement)
        cursor = self.driver.execute(prepared.sql, {**prepared.constants, **(parameters or {})})
        make = prepared.row(tuple(column[0] for column in cursor.description))
        return [make(row) for row in cursor]

    def row(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any | None:
        """Run a statement that reads, and return its first row or None."""
        rows = self.rows(statement, parameters)
        return rows[0] if rows else None

    def run(self, statement: Executable, parameters: Mapping[str, Any]) -> int:
        """Run a statement that writes, and return the id of the row that it inserted."""
        prepared = _prepare(statement)
        return self.driver.execute(prepared.sql, {**prepared.constants, **parameters}).lastrowid or 0

    def run_all(self, statement: Executable, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement that writes, once for each of several rows."""
        if parameters:
            self.driver.executemany(_prepare(statement).sql, parameters)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock: commit at the end, roll back on an error; a nested one joins."""
        if self.driver.in_transaction:
            yield
            return
        self.driver.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.driver.execute("COMMIT")
        except BaseException:
            # A full disk makes SQLite roll back by itself.
            if self.driver.in_transaction:
                self.driver.execute("ROLLBACK")
            raise


class _Prepared:
    """A statement's text and the constants in it."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self.constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._make: Callable[[Sequence[Any]], Any] | None = None

    def row(self, names: tuple[str, ...]) -> Callable[[Sequence[Any]], Any]:
        if self._make is None:
            kind: Any = namedtuple("Row", names)  # type: ignore[misc]
            self._make = kind._make
        return self._make


@lru_cache(maxsize=256)
def _prepare(statement: Executable) -> _Prepared:
    """Statements are constants of their modules, so each is compiled once."""
    if not isinstance(statement, ClauseElement):
        raise TypeError(f"{statement!r} is no statement of SQLAlchemy Core")
    return _Prepared(statement)
