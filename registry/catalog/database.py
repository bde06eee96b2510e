"""The database of one home: its connections and transactions, and the words for what SQLite reports."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from registry.blobs.files import share
from registry.catalog import migration
from registry.catalog.connection import Connection
from registry.catalog.filesystem import FileSystem, detect
from registry.errors.catalog import (
    DatabaseBusy,
    DatabaseChanged,
    DatabaseDamaged,
    DatabaseFull,
    HomeReadOnly,
    HomeUnusable,
    OlderDatabase,
)
from registry.errors.root import RegistryError

BUSY_SECONDS = 60.0
"""How long a statement waits for another process; a push holds the lock for milliseconds, a collection for seconds."""

_inherited: list[Mapping[int, Connection]] = []
"""Connections of the parent process: closing them in a forked child would release the parent's locks."""


class Database:
    """``HOME/registry.db``, made and migrated when it is opened. Threads and forked processes may share one."""

    def __init__(self, home: Path, file_system: FileSystem | None = None) -> None:
        """Open it.

        Raises:
            HomeUnusable, HomeReadOnly: the folder can be neither made nor read; or it is empty and cannot be written.
            NewerDatabase, OlderDatabase, NotARegistry, DatabaseDamaged: it is no database that can be used here.
        """
        self.home = home
        self.path = home / "registry.db"
        self.file_system = file_system or detect(home)
        self.migration: migration.Migration | None = None
        """What opening it had to do to the schema."""
        self._make_home()
        self.read_only = not _is_writable(home, self.path)
        self._pid = os.getpid()
        self._connections: dict[int, Connection] = {}
        with self._worded():
            self._bring_to_head()
        self._file = self._name()

    @property
    def is_there(self) -> bool:
        """Whether the file that was opened still has its name: the home was neither deleted nor moved nor replaced."""
        return self._file is not None and self._file == self._name()

    def _make_home(self) -> None:
        try:
            if not self.home.is_dir():
                self.home.mkdir(parents=True, exist_ok=True)
                share(self.home)
        except OSError as error:
            raise HomeUnusable(str(self.home), error.strerror or str(error)) from error
        # One that was made before its folder became a team's.
        share(self.path)

    def _bring_to_head(self) -> None:
        """Migrate, unless the revision is this program's: then no lock is taken and alembic is not imported."""
        if self.path.exists():
            if self.file_system.is_network and not self.read_only:
                migration.leave_wal(self.path)
            with contextlib.closing(self.connect()) as connection:
                revision = migration.read_revision(connection)
            if revision == migration.HEAD:
                return
            migration.check_known(self.path, revision)
            if self.read_only:
                raise OlderDatabase(str(self.path), revision or "(empty)", migration.HEAD)
        elif self.read_only:
            raise HomeReadOnly(str(self.home))
        self.migration = migration.migrate(self.path, is_network=self.file_system.is_network)

    def connect(self) -> sqlite3.Connection:
        """Return a new connection of the driver, which never begins a transaction by itself."""
        return self._connect().driver

    def _connect(self) -> Connection:
        file = self._identity()
        if not self.read_only:
            return Connection(migration.connect(self.path, "rw", BUSY_SECONDS), file)
        logs = self._logs()
        if logs or self.file_system.is_network:
            try:
                connection = migration.connect(self.path, "ro", BUSY_SECONDS)
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                self._leave_to_others(logs)
                return Connection(connection, file)
            except sqlite3.OperationalError:
                # With a log that was not yet merged, and cannot be read, the database is not all there is.
                if self._has_unmerged():
                    raise
        # Nobody has it open, or nothing can be written beside it. To read it as SQLite does would make a log and its
        # index that belong to this user, and lock out those who may write; so it is read as one that nobody changes,
        # and each time looked at again afterwards.
        uri = f"file:{quote(str(self.path))}?immutable=1"
        driver = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        return Connection(driver, file, is_unlocked=True)

    def _logs(self) -> list[Path]:
        """Return what SQLite has beside the database while somebody has it open, or after that was killed."""
        logs = [self.path.with_name(f"{self.path.name}-{kind}") for kind in ("wal", "shm", "journal")]
        return [log for log in logs if log.exists()]

    def _has_unmerged(self) -> bool:
        """Whether there is a log with something in it: the last one to close the database takes it away."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size > 0
        except FileNotFoundError:
            return False

    def _leave_to_others(self, before: list[Path]) -> None:
        """Let those who may write write to a log that was made just now because the last of them had just gone."""
        for log in self._logs():
            if log not in before:
                with contextlib.suppress(OSError):
                    log.chmod(0o666)

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """Run one reading statement, inside this thread's transaction where there is one; give named tuples."""
        with self._worded():
            while True:
                held = self._connection()
                try:
                    rows = held.rows(statement, parameters)
                    if not held.is_unlocked or held.file == self._identity():
                        return rows
                except sqlite3.Error:
                    if not held.is_unlocked or held.file == self._identity():
                        raise
                # What was read may be half of before and half of after a change.
                if held.driver.in_transaction:
                    raise DatabaseChanged(str(self.path))

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read as of one moment, whatever others commit meanwhile; inside this thread's transaction where there is one.

        On a network file system, without a write-ahead log, others wait for its end before they commit.
        """
        with self._worded(), self._connection().snapshot():
            yield

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Hold the one write lock (``BEGIN IMMEDIATE``): commit at the end, roll back on an error; nested ones join.

        Raises:
            HomeReadOnly, DatabaseBusy, DatabaseFull, DatabaseDamaged, HomeUnusable: it cannot be done.
        """
        if self.read_only:
            raise HomeReadOnly(str(self.home))
        with self._worded():
            connection = self._connection()
            with connection.transaction():
                yield connection

    def close(self) -> None:
        """Close every connection of this process."""
        for connection in self._connections.values():
            connection.driver.close()
        self._connections.clear()

    def _connection(self) -> Connection:
        """Return this thread's connection; a forked child opens its own."""
        if os.getpid() != self._pid:
            _inherited.append(self._connections)
            self._connections, self._pid = {}, os.getpid()
        thread = threading.get_ident()
        held = self._connections.get(thread)
        # SQLite would go on with a file that no longer has a name, and what it commits there nobody finds again.
        if held is not None and not held.driver.in_transaction and held.file != self._identity():
            self._connections.pop(thread).driver.close()
            held = None
        if held is None:
            held = self._connections[thread] = self._connect()
        return held

    def _name(self) -> tuple[int, int] | None:
        """Return which file has the database's name; None if there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _identity(self) -> tuple[int, ...] | None:
        """Return what the file is, whatever its name, and where a change may be unseen, of when; None if it is gone."""
        same = self._name()
        if same is None or not self.read_only:
            return same
        try:
            status = self.path.stat()
        except OSError:
            return None
        return (*same, status.st_size, status.st_mtime_ns, status.st_ctime_ns, bool(self._logs()))

    @contextlib.contextmanager
    def _worded(self) -> Iterator[None]:
        """Turn the errors of SQLite that a user can meet into ours."""
        try:
            yield
        except sqlite3.Error as error:
            worded = self._word(str(error))
            if worded is None:
                raise
            raise worded from error

    def _word(self, message: str) -> RegistryError | None:
        path = str(self.path)
        if "locked" in message or "busy" in message:
            return DatabaseBusy(path, BUSY_SECONDS)
        # SQLite says that the disk is full for ENOSPC alone; a quota or a limit on file sizes is an I/O error to it.
        if "full" in message or "disk I/O error" in message:
            return DatabaseFull(path)
        if "readonly" in message:
            return HomeReadOnly(str(self.home))
        if (
            "decode" in message
            or "not a database" in message
            or "malformed" in message
            or "unsupported file format" in message
        ):
            return DatabaseDamaged(path, message, str(self.home / migration.BACKUPS))
        if "unable to open" in message or "no such table" in message:
            return HomeUnusable(str(self.home), f"SQLite reports '{message}' for {path}")
        return None


def _is_writable(home: Path, path: Path) -> bool:
    return os.access(home, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))
