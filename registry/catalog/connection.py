"""One connection of the driver, which runs the statements of ``sql``."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any


class Connection:
    """A connection of the driver in autocommit mode, and the transaction that may be open on it."""

    def __init__(
        self, driver: sqlite3.Connection, file: tuple[int, ...] | None = None, *, is_unlocked: bool = False
    ) -> None:
        """Wrap a connection.

        Args:
            file: which file it has open, and, where others may change it unseen, as of when.
            is_unlocked: it takes no locks, and sees no change.
        """
        self.driver = driver
        self.file = file
        self.is_unlocked = is_unlocked

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """Run a statement that reads, and return its rows as named tuples."""
        cursor = self.driver.execute(statement, parameters or {})
        make = _row(tuple(column[0] for column in cursor.description))
        return [make(row) for row in cursor]

    def row(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Any | None:
        """Run a statement that reads, and return its first row or None."""
        rows = self.rows(statement, parameters)
        return rows[0] if rows else None

    def run(self, statement: str, parameters: Mapping[str, Any]) -> int:
        """Run a statement that writes, and return the id of the row that it inserted."""
        return self.driver.execute(statement, parameters).lastrowid or 0

    def run_all(self, statement: str, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement that writes, once for each of several rows."""
        if parameters:
            self.driver.executemany(statement, parameters)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that is read be of one moment; inside a transaction it is."""
        if self.driver.in_transaction:
            yield
            return
        self.driver.execute("BEGIN")
        try:
            yield
        finally:
            self.driver.execute("ROLLBACK")

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


@lru_cache(maxsize=256)
def _row(names: tuple[str, ...]) -> Callable[[Sequence[Any]], Any]:
    kind: Any = namedtuple("Row", names)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Any] = kind._make
    return make
