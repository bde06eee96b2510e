"""The database as threads and processes share it: questions, snapshots, and changes that join the one in progress."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import Pool

from registry.catalog.connection import Connection
from registry.catalog.rows import R, Reading
from registry.catalog.sqlite import Sqlite
from registry.disk.filesystem import FileSystem
from registry.errors.catalog import DatabaseChanged, HomeReadOnly


class Database:
    """The tables of one home. Threads and forked processes may share one; every thread has its own transaction."""

    def __init__(self, home: Path, file_system: FileSystem | None = None) -> None:
        """Open it, as ``Sqlite`` says, which knows the file."""
        self.file = Sqlite(home, file_system)
        self._thread = _Thread()
        _open.add(self)
        # The last connection takes SQLite's log away; a process that ends need not collect what is in a cycle.
        weakref.finalize(self, self.file.engine.dispose)

    @property
    def place(self) -> str:
        """The home that it is of, for the words of errors."""
        return str(self.file.home)

    def rows(self, statement: Reading[R], **parameters: Any) -> Sequence[R]:
        """Run one reading statement, inside this thread's transaction where there is one; give named tuples."""
        is_joined = self._thread.transaction is not None
        while True:
            with self._transaction() as connection:
                try:
                    rows = connection.rows(statement, **parameters)
                    if self.file.is_unchanged(connection.of_engine):
                        return rows
                except DBAPIError:
                    if self.file.is_unchanged(connection.of_engine):
                        raise
            # What was read may be half of before and half of after a change.
            if is_joined:
                raise DatabaseChanged(str(self.file.path))

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read as of one moment, whatever others commit meanwhile; inside this thread's transaction where there is one.

        On a network file system, without a write-ahead log, others wait for its end before they commit.
        """
        with self._transaction(writes=False):
            yield

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Hold the one write lock: commit at the end, roll back on an error; nested ones join.

        Raises:
            HomeReadOnly, DatabaseBusy, DatabaseFull, DatabaseDamaged, HomeUnusable: it cannot be done.
        """
        if self.file.read_only:
            raise HomeReadOnly(str(self.file.home))
        with self._transaction(writes=True) as connection:
            yield connection

    def close(self) -> None:
        """Close every connection of this process."""
        self.file.engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, writes: bool | None = None) -> Iterator[Connection]:
        """Join this thread's transaction, or begin one; a single statement that reads needs none."""
        with self.file.worded():
            if self._thread.transaction is not None:
                yield self._thread.transaction
                return
            with self.file.connect() as connection, connection.begin():
                if writes is not None:
                    self.file.begin(connection, writes=writes)
                self._thread.transaction = Connection(connection, self.place)
                try:
                    yield self._thread.transaction
                finally:
                    self._thread.transaction = None

    def _leave_to_parent(self) -> None:
        """Use none of the connections that a forked child inherited."""
        _inherited.append(self.file.engine.pool)
        self.file.engine.dispose(close=False)
        self._thread = _Thread()


class _Thread(threading.local):
    transaction: Connection | None = None
    """The one that is open."""


_open: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[Pool] = []
"""Connections of the parent process: SQLite forbids a child even to close them."""


def _forked() -> None:
    for database in list(_open):
        database._leave_to_parent()


os.register_at_fork(after_in_child=_forked)
