"""The database as threads and processes share it: questions, snapshots, and changes that join the one in progress."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import Pool

from registry.catalog.connection import Connection
from registry.catalog.engine import DatabaseEngine, Fact
from registry.catalog.forks import no_fork
from registry.catalog.rows import R, Reading
from registry.disk import changes
from registry.disk.filesystem import FileSystem
from registry.errors.catalog import DatabaseChanged, HomeReadOnly
from registry.errors.database import DatabaseLost

if TYPE_CHECKING:
    from registry.catalog.address import DatabaseAddress


class Database:
    """The tables of one home. Threads and forked processes may share one; every thread has its own transaction."""

    def __init__(self, home: Path | DatabaseAddress, file_system: FileSystem | None = None) -> None:
        """Open it, as ``Sqlite`` says, which knows the file, or ``Postgres``, which knows the server."""
        self.backend = _opened(home, file_system)
        self._thread = _Thread()
        _open.add(self)
        # The last connection takes SQLite's log away; a process that ends need not collect what is in a cycle.
        weakref.finalize(self, self.backend.engine.dispose)

    @property
    def place(self) -> str:
        """The home that it is of, for the words of errors."""
        return self.backend.place

    def rows(self, statement: Reading[R], **parameters: Any) -> Sequence[R]:
        """Run one reading statement, inside this thread's transaction where there is one; give named tuples."""
        is_joined = self._thread.transaction is not None
        was_lost = False
        while True:
            try:
                with self._transaction() as connection:
                    try:
                        rows = connection.rows(statement, **parameters)
                        if self.backend.is_unchanged(connection.of_engine):
                            return rows
                    except DBAPIError as error:
                        if error.connection_invalidated or self.backend.is_unchanged(connection.of_engine):
                            raise
            except DatabaseLost:
                # To read again on another connection changes nothing, where a commit might be made twice.
                if is_joined or was_lost:
                    raise
                was_lost = True
                continue
            # What was read may be half of before and half of after a change.
            if is_joined:
                raise DatabaseChanged(self.backend.where)

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
        if self.backend.read_only:
            raise HomeReadOnly(self.backend.place)
        with self._transaction(writes=True) as connection:
            yield connection

    def facts(self) -> tuple[Fact, ...]:
        """Say what is worth knowing of it."""
        with self._transaction() as connection:
            return self.backend.facts(connection.of_engine)

    @property
    def is_moved(self) -> bool:
        """Whether it refuses changes, since its rows are elsewhere now."""
        with self._transaction() as connection:
            return self.backend.is_moved(connection.of_engine)

    def close(self) -> None:
        """Close every connection of this process."""
        self.backend.engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, writes: bool | None = None) -> Iterator[Connection]:
        """Join this thread's transaction, or begin one; a single statement that reads needs none."""
        with self.backend.worded():
            if self._thread.transaction is not None:
                yield self._thread.transaction
                return
            with no_fork():
                connection, transaction = self._begun(writes)
                with contextlib.closing(connection), transaction:
                    self._thread.transaction = Connection(connection, self.place)
                    try:
                        yield self._thread.transaction
                        if writes:
                            changes.begin()  # the commit comes next
                    finally:
                        self._thread.transaction = None

    def _begun(self, writes: bool | None) -> tuple[sqlalchemy.Connection, sqlalchemy.RootTransaction]:
        """Begin a transaction; on a fresh connection where the pool's was lost, since nothing was done on it yet."""
        was_lost = False
        while True:
            connection = self.backend.connect(alone=writes is None)
            try:
                transaction = connection.begin()
                if writes is not None:
                    self.backend.begin(connection, writes=writes)
                return connection, transaction
            except BaseException as error:
                connection.close()
                if was_lost or not (isinstance(error, DBAPIError) and error.connection_invalidated):
                    raise
                was_lost = True

    def _leave_to_parent(self) -> None:
        """Use none of the connections that a forked child inherited."""
        _inherited.append(self.backend.engine.pool)
        self.backend.engine.dispose(close=False)
        self._thread = _Thread()


def _opened(home: Path | DatabaseAddress, file_system: FileSystem | None) -> DatabaseEngine:
    if isinstance(home, Path):
        from registry.catalog.sqlite import Sqlite

        return Sqlite(home, file_system)
    from registry.catalog.postgres import Postgres

    return Postgres(home)


class _Thread(threading.local):
    transaction: Connection | None = None
    """The one that is open."""


_open: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[Pool] = []
"""Connections of the parent process: SQLite forbids a child even to close them, and a server would end the parent's."""


def _forked() -> None:
    for database in list(_open):
        database._leave_to_parent()


os.register_at_fork(after_in_child=_forked)
