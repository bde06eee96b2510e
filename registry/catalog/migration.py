"""Bringing a database to this program's revision: once, whole or not at all, and never without a backup."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from registry.disk.folders import share
from registry.errors.catalog import NewerDatabase, NotARegistry

if TYPE_CHECKING:
    from sqlalchemy import Connection

HEAD = "0009"
"""The newest script in ``migrations/versions``; kept here so that a current database needs no alembic."""

BACKUPS = "backups"
"""Folder of the copies that were taken before migrations, in the home."""

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Migration:
    """What was done to a database."""

    before: str | None
    """Its revision until then; None for a new one."""
    after: str
    backup: Path | None
    """Copy of what it was; None for a new one, which had nothing to lose."""


class Driver(sqlite3.Connection):
    """A connection of the driver."""

    file: tuple[int, ...] | None = None
    """Which file it has open, and, where others may change that unseen, as of when."""
    is_unlocked = False
    """It takes no locks, and sees no change."""

    def close(self) -> None:
        """Close it, and let go of its locks at once.

        SQLite keeps them until the last statement is gone, and of one that an interrupt ended the traceback has a part.
        """
        with contextlib.suppress(sqlite3.Error):  # it is closed, or cannot be read any more
            self.rollback()
        super().close()


def connect(path: Path, mode: str, busy_seconds: float = _PATIENCE_SECONDS) -> Driver:
    """Return a connection in autocommit mode: transactions begin where we say so, and pragmas take effect."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        factory=Driver,
    )
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def read_revision(connection: sqlite3.Connection) -> str | None:
    """Return the revision of a database, or None for one that has no tables of ours yet."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def check_known(path: Path, revision: str | None) -> None:
    """Refuse a database that another program, or a newer one, wrote.

    Raises:
        NewerDatabase, NotARegistry
    """
    if revision is not None:
        if not is_known(revision):
            raise NewerDatabase(str(path), revision, HEAD)
        return
    with contextlib.closing(connect(path, "rw")) as connection:
        if (
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
            and read_revision(connection) is None
        ):
            raise NotARegistry(str(path))


def is_known(revision: str) -> bool:
    """Whether there is a script that brings a database to a revision."""
    return revision in {file.name.partition("_")[0] for file in _scripts().glob("versions/[0-9]*.py")}


def migrate(path: Path, *, is_network: bool, scripts: Path | None = None, head: str = HEAD) -> Migration | None:
    """Create or upgrade a database in one transaction; None where another process has done it meanwhile.

    The lock file only spares racing processes the work, and is never unlinked: a lock on a file that another process
    replaced would be no lock. What makes it correct, on network file systems too, is the transaction, in which the
    revision is read again. Killed in the middle, all is rolled back and the next one to open it begins anew.
    """
    with _one_at_a_time(path, is_network), contextlib.closing(_create(path)) as connection:
        before = read_revision(connection)
        if before == head:
            return None
        if not is_network:
            _set_wal(connection)
        backup = _back_up(connection, path, before) if before is not None else None
        # With foreign keys on, alembic's batch mode, which drops the old table, deletes the rows that refer to it.
        connection.execute("PRAGMA foreign_keys=OFF")
        with _in_the_drivers_words():
            _run_scripts(connection, scripts or _scripts(), head)
        return Migration(before, head, backup)


def _create(path: Path) -> sqlite3.Connection:
    """Connect to a database that need not be there yet.

    SQLite would make the file with mode 0644 whatever the umask, and the log and its index with the file's mode.
    """
    # Only a new one: to close a file gives up every lock that this process has on it, those of SQLite included.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        share(path)
    return connect(path, "rw")


def leave_wal(path: Path) -> None:
    """Take a database that was moved onto a network file system out of WAL mode.

    The exclusive mode comes first: without it SQLite maps the log's index into memory, which no two machines share.
    """
    with path.open("rb") as file:
        header = file.read(20)
    if header[18:20] == b"\2\2":
        with contextlib.closing(connect(path, "rw")) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()


def _scripts() -> Path:
    """Return the folder of the migrations, which is inside the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.with_name("migrations")


@contextlib.contextmanager
def _in_the_drivers_words() -> Iterator[None]:
    """Raise what the driver reported, such as a full disk, instead of what SQLAlchemy makes of it."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from error
        raise


def _run_scripts(connection: sqlite3.Connection, scripts: Path, head: str) -> None:
    """Run alembic in one transaction; ``env.py`` begins and commits nothing."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    with create_engine("sqlite+pysqlite://", creator=lambda: connection, poolclass=StaticPool).connect() as lent:
        # Only now: SQLAlchemy rolls back once when it meets its first connection.
        lent.exec_driver_sql("BEGIN IMMEDIATE")
        if read_revision(connection) == head:
            return
        upgrade(lent, scripts, head)
        broken = lent.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise sqlite3.IntegrityError(f"the migration to {head} leaves {len(broken)} dangling rows")
        lent.exec_driver_sql("COMMIT")


def upgrade(lent: Connection, scripts: Path | None = None, head: str = HEAD) -> None:
    """Run the scripts that a database lacks, inside the transaction that is open on a connection to it."""
    from alembic import command
    from alembic.config import Config

    from registry.catalog.schema import METADATA

    config = Config()
    # In an option '%' begins an interpolation.
    config.set_main_option("script_location", str(scripts or _scripts()).replace("%", "%%"))
    config.attributes["connection"] = lent
    config.attributes["tables"] = METADATA
    command.upgrade(config, head)


@contextlib.contextmanager
def _one_at_a_time(path: Path, is_network: bool) -> Iterator[None]:
    """Hold the lock file of a local database."""
    if is_network:
        yield
        return
    import fcntl

    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)  # a colleague's: it is there to be locked, not written
    try:
        share(lock)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _set_wal(connection: sqlite3.Connection) -> None:
    """Switch the write-ahead log on; here SQLite reports a lock at once, so the waiting is ours."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _back_up(connection: sqlite3.Connection, path: Path, revision: str) -> Path:
    """Copy a database while others may write to it; a plain copy of the file would miss what is in the log."""
    from registry.disk.folders import make_folder

    folder = path.with_name(BACKUPS)
    make_folder(folder)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    temporary = folder / f".{uuid.uuid4().hex}.part"
    backup = folder / f"registry-{revision}-{stamp}-{uuid.uuid4().hex[:6]}.db"
    try:
        connection.execute("VACUUM INTO ?", (str(temporary),))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(backup)
    finally:
        temporary.unlink(missing_ok=True)
    return backup
