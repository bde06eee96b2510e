"""One connection, with a transaction that is open on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy
from sqlalchemy import Executable
from sqlalchemy.exc import DBAPIError

from registry.catalog.rows import R, Reading


class Connection:
    """What is asked and changed in one transaction.

    Args:
        place: the home that it is of, for the words of errors.
    """

    def __init__(self, connection: sqlalchemy.Connection, place: str) -> None:
        self.of_engine = connection
        self.place = place

    def rows(self, statement: Reading[R], **parameters: Any) -> Sequence[R]:
        """Run a statement that reads, and return its rows as named tuples.

        What should be a text and is not one, since somebody edited it, is read with U+FFFD for what is illegible: its
        row is named by an audit, and all others are read as ever.
        """
        try:
            return self._all(statement, parameters)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            driver: Any = self.of_engine.connection.driver_connection
            if "decode" not in str(error.orig) or not hasattr(driver, "text_factory"):
                raise
            driver.text_factory = partial(str, encoding="utf-8", errors="replace")
            try:
                return self._all(statement, parameters)
            finally:
                driver.text_factory = str

    def _all(self, statement: Reading[R], parameters: Mapping[str, Any]) -> Sequence[R]:
        rows: Sequence[Any] = self.of_engine.execute(statement, parameters).all()
        return rows

    def row(self, statement: Reading[R], **parameters: Any) -> R | None:
        """Run a statement that reads, and return its first row or None."""
        rows = self.rows(statement, **parameters)
        return rows[0] if rows else None

    def run(self, statement: Executable, **parameters: Any) -> None:
        """Run a statement that writes."""
        self.of_engine.execute(statement, parameters)

    def run_all(self, statement: Executable, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement that writes, once for each of several rows."""
        if parameters:
            self.of_engine.execute(statement, parameters)

    def add(self, statement: Executable, **row: Any) -> int:
        """Insert a row, and return the id that it was given."""
        key = self.of_engine.execute(statement, row).inserted_primary_key
        assert key is not None
        return int(key[0])
