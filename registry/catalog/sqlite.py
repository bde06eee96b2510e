"""``HOME/registry.db`` as an engine: its file, its connections, and the words for what SQLite reports."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, make_url, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from registry.catalog import migration
from registry.catalog.engine import BUSY_SECONDS, MOVED, Fact
from registry.catalog.forks import no_fork
from registry.catalog.migration import Driver
from registry.catalog.rows import Dangling, JournalMode, Reading
from registry.disk.filesystem import FileSystem, detect
from registry.disk.folders import share
from registry.errors.catalog import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseFull,
    HomeReadOnly,
    HomeUnusable,
    OlderDatabase,
)
from registry.errors.database import HomeMoved
from registry.errors.root import RegistryError

# Not by `create_engine`: each would have a dialect of its own, and compile every statement again for it.
_DIALECT = sqlite.dialect(dbapi=sqlite3)
_COMPILED: dict[Any, Any] = {}
_URL = make_url("sqlite+pysqlite://")

_pragma: Callable[[str], Any] = text
JOURNAL_MODE: Reading[JournalMode] = _pragma("PRAGMA journal_mode")
DANGLING: Reading[Dangling] = _pragma("PRAGMA foreign_key_check")


class Sqlite:
    """The database of a home, made and migrated when it is opened."""

    dangling: Reading[Dangling] | None = DANGLING

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
        # As many connections as threads use at once; the driver begins no transaction by itself, so `begin` does.
        creator: Any = self._connect
        pool = QueuePool(creator, pool_size=0, use_lifo=True, dialect=_DIALECT)
        self.engine = Engine(pool, _DIALECT, _URL, execution_options={"compiled_cache": _COMPILED})
        with self.worded(), no_fork():
            self._bring_to_head()
        self._file = self._name()

    @property
    def place(self) -> str:
        return str(self.home)

    @property
    def where(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        return str(self.path.resolve())

    @property
    def is_there(self) -> bool:
        """Whether the file that was opened still has its name: the home was neither deleted nor moved nor replaced."""
        return self._file is not None and self._file == self._name()

    def connect(self, *, alone: bool = False) -> Connection:
        """Return a connection to the file that has the database's name now.

        SQLite would go on with one that no longer has a name, and what it commits there nobody finds again.
        """
        connection = self.engine.connect()
        if _driver(connection).file != self._identity():
            connection.invalidate()
        return connection

    def begin(self, connection: Connection, *, writes: bool) -> None:
        """Begin a transaction: with the one write lock, or a snapshot."""
        _driver(connection).execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    def is_unchanged(self, connection: Connection) -> bool:
        """Whether what a connection read is of one moment: one that takes no locks may see half of a change."""
        driver = _driver(connection)
        return not driver.is_unlocked or driver.file == self._identity()

    @contextlib.contextmanager
    def worded(self) -> Iterator[None]:
        """Turn the errors of SQLite that a user can meet into ours."""
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            worded = self._word(str(error.orig if isinstance(error, DBAPIError) else error))
            if worded is None:
                raise
            raise worded from error

    def refuse_changes(self, connection: Connection, to: str | None) -> None:
        _driver(connection).execute("DROP TRIGGER IF EXISTS trail_moved")
        if to is not None:
            told = (MOVED + to).replace("'", "''")
            _driver(connection).execute(
                f"CREATE TRIGGER trail_moved BEFORE UPDATE ON trail BEGIN SELECT RAISE(ABORT, '{told}'); END"
            )

    def is_moved(self, connection: Connection) -> bool:
        found = _driver(connection).execute("SELECT 1 FROM sqlite_master WHERE name = 'trail_moved'")
        return found.fetchone() is not None

    def count_on(self, connection: Connection, tables: Iterable[Table]) -> None:
        """SQLite looks for the largest one itself."""

    def facts(self, connection: Connection) -> tuple[Fact, ...]:
        return (Fact("journal mode", str(connection.execute(JOURNAL_MODE).scalar_one())),)

    def _make_home(self) -> None:
        try:
            if not self.home.is_dir():
                self.home.mkdir(parents=True, exist_ok=True)
                share(self.home)
            self.path.exists()  # raises in a folder that may not be entered
        except OSError as error:
            raise HomeUnusable(str(self.home), error.strerror or str(error)) from error
        # One that was made before its folder became a team's.
        share(self.path)

    def _bring_to_head(self) -> None:
        """Migrate, unless the revision is this program's: then no lock is taken and alembic is not imported."""
        if self.path.exists():
            if self.file_system.is_network and not self.read_only:
                migration.leave_wal(self.path)
            with contextlib.closing(self._connect()) as connection:
                revision = migration.read_revision(connection)
            if revision == migration.HEAD:
                return
            migration.check_known(self.path, revision)
            if self.read_only:
                raise OlderDatabase(str(self.path), revision or "(empty)", migration.HEAD)
        elif self.read_only:
            raise HomeReadOnly(str(self.home))
        self.migration = migration.migrate(self.path, is_network=self.file_system.is_network)

    def _connect(self) -> Driver:
        file = self._identity()
        if not self.read_only:
            driver = migration.connect(self.path, "rw", BUSY_SECONDS)
            driver.file = file
            return driver
        logs = self._logs()
        if logs or self.file_system.is_network:
            try:
                driver = migration.connect(self.path, "ro", BUSY_SECONDS)
                driver.execute("SELECT count(*) FROM sqlite_master").fetchone()
                self._leave_to_others(logs)
                driver.file = file
                return driver
            except sqlite3.OperationalError:
                # With a log that was not yet merged, and cannot be read, the database is not all there is.
                if self._has_unmerged():
                    raise
        # Nobody has it open, or nothing can be written beside it. To read it as SQLite does would make a log and its
        # index that belong to this user, and lock out those who may write; so it is read as one that nobody changes,
        # and each time looked at again afterwards.
        uri = f"file:{quote(str(self.path))}?immutable=1"
        driver = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, factory=Driver)
        driver.file, driver.is_unlocked = file, True
        return driver

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

    def _word(self, message: str) -> RegistryError | None:
        path = str(self.path)
        if message.startswith(MOVED):
            return HomeMoved(str(self.home), message.partition(MOVED)[2])
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


def _driver(connection: Connection) -> Driver:
    driver = connection.connection.driver_connection
    assert isinstance(driver, Driver)
    return driver


def _is_writable(home: Path, path: Path) -> bool:
    return os.access(home, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))
