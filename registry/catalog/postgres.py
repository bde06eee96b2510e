"""A PostgreSQL database as an engine: its connections, its one lock, and the words for what it reports.

Every change locks the row of the trail's end first. That is enough, since the numbers without gaps and the chain of the
trail need one lock anyway: nothing can deadlock, and behind it each statement sees what the last holder committed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, create_engine
from sqlalchemy.exc import DBAPIError, PendingRollbackError, TimeoutError as PoolTimeout

from registry.catalog.address import DatabaseAddress, search_path
from registry.catalog.engine import BUSY_SECONDS, MOVED, Fact
from registry.catalog.key_statements import DANGLING
from registry.catalog.migration import HEAD
from registry.catalog.rows import Dangling, Reading
from registry.errors.catalog import DatabaseBusy, DatabaseFull, HomeReadOnly, HomeUnusable
from registry.errors.database import DatabaseLost, DatabaseUnreachable, HomeMoved, OptionsNotPassedOn
from registry.errors.root import RegistryError
from registry.errors.server import ExtraMissing

if TYPE_CHECKING:
    from registry.catalog.migration import Migration

CONNECT_SECONDS = 10
"""How long a server may take to answer, where the address says nothing else."""

MOST_CONNECTIONS = 10
"""Of one process: threads that need more wait for each other, as at the lock they would anyway."""

_KEPT_CONNECTIONS = 2

_PREPARED_AFTER = 2
"""Runs of a statement, after which the server keeps its plan: to make one takes longer than to look something up."""

_ABANDONED_SECONDS = 600
"""After which the server takes the lock from a change whose host is gone or stopped."""

_NOT_PASSED_ON = "unsupported startup parameter: options"
"""What pgbouncer answers that was not told to ignore them."""

_LOCK = (
    f"SET LOCAL lock_timeout = {int(BUSY_SECONDS * 1000)}; "
    f"SET LOCAL idle_in_transaction_session_timeout = {_ABANDONED_SECONDS * 1000}; "
    "SELECT 1 FROM trail WHERE id = 1 FOR UPDATE"
)
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_MAY_WRITE = "SELECT NOT pg_is_in_recovery() AND has_table_privilege('trail', 'UPDATE')"
_IS_MOVED = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'trail_moved' AND tgrelid = to_regclass('trail'))"
_VERSION = "SELECT current_setting('server_version')"
_SECONDS_AHEAD = "SELECT extract(epoch FROM clock_timestamp())::float8"
_USED_CONNECTIONS = "SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity"


class Postgres:
    """A database on a server, made and migrated when it is opened.

    Args:
        opens: whether to bring it to this program's revision, as is done once before it is used.
        address: of the database; the schema is the first of the search path, which the address may set
            (``?options=-csearch_path%3DNAME``).

    Raises:
        ExtraMissing: psycopg is not installed.
        DatabaseUnreachable: it cannot be connected to.
        OptionsNotPassedOn: a pooler in between forgets which schema was meant.
        HomeUnusable, NewerDatabase, OlderDatabase, NotARegistry: it is nothing that can be used here.
    """

    dangling: Reading[Dangling] | None = DANGLING

    def __init__(self, address: DatabaseAddress, *, opens: bool = True) -> None:
        self.address = address
        self.migration: Migration | None = None
        self._psycopg = _driver()
        self._may_write: bool | None = None
        creator: Any = self._connect
        self.engine: Engine = create_engine(
            "postgresql+psycopg://",
            creator=creator,
            pool_size=_KEPT_CONNECTIONS,
            max_overflow=MOST_CONNECTIONS - _KEPT_CONNECTIONS,
            pool_timeout=BUSY_SECONDS,
            pool_use_lifo=True,
            use_native_hstore=False,
        )
        if opens:
            with self.worded():
                self._bring_to_head()

    @property
    def place(self) -> str:
        return str(self.address)

    @property
    def where(self) -> str:
        return str(self.address)

    @property
    def identity(self) -> str:
        return self.address.url

    @property
    def is_there(self) -> bool:
        """A server that does not answer may answer the next question."""
        return True

    @property
    def read_only(self) -> bool:
        """Whether this user may only read it, or the server is a copy of another one."""
        if self._may_write is None:
            with self.worded(), self.connect(alone=True) as connection:
                self._may_write = bool(connection.exec_driver_sql(_MAY_WRITE).scalar())
        return not self._may_write

    def connect(self, *, alone: bool) -> Connection:
        connection = self.engine.connect()
        return connection.execution_options(isolation_level="AUTOCOMMIT") if alone else connection

    def begin(self, connection: Connection, *, writes: bool) -> None:
        connection.exec_driver_sql(_LOCK if writes else _SNAPSHOT)

    def is_unchanged(self, connection: Connection) -> bool:
        return True

    @contextlib.contextmanager
    def worded(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            worded = self._word(error)
            if worded is None:
                raise
            raise worded from error
        except PendingRollbackError as error:
            raise DatabaseLost(self.where, "a statement before had no answer") from error
        except PoolTimeout as error:
            raise DatabaseBusy(self.where, BUSY_SECONDS) from error

    def refuse_changes(self, connection: Connection, to: str | None) -> None:
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS trail_moved ON trail")
        if to is None:
            return
        body = f"BEGIN RAISE EXCEPTION USING MESSAGE = {_literal(MOVED + to)}; END"
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse_a_moved_registry() RETURNS trigger LANGUAGE plpgsql AS "
            + _literal(body).replace("%", "%%")
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER trail_moved BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON trail "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_a_moved_registry()"
        )

    def is_moved(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql(_IS_MOVED).scalar())

    def count_on(self, connection: Connection, tables: Iterable[Table]) -> None:
        for table in tables:
            for column in table.primary_key:
                if column.name == "id" and (sequence := self._sequence_of(connection, table.name)) is not None:
                    largest = f"SELECT setval('{sequence}', coalesce(max(id), 0) + 1, false) FROM {table.name}"
                    connection.exec_driver_sql(largest)

    @staticmethod
    def _sequence_of(connection: Connection, table: str) -> str | None:
        found = connection.exec_driver_sql(f"SELECT pg_get_serial_sequence('{table}', 'id')").scalar()
        return None if found is None else str(found)

    def facts(self, connection: Connection) -> tuple[Fact, ...]:
        import time

        server = connection.exec_driver_sql(_VERSION).scalar_one()
        before = time.time()
        theirs = connection.exec_driver_sql(_SECONDS_AHEAD).scalar_one()
        ahead = abs(theirs - (before + time.time()) / 2)
        used, most = connection.exec_driver_sql(_USED_CONNECTIONS).one()
        crowded = f"the server refuses more than {most}; raise max_connections, or put pgbouncer in front"
        return (
            Fact("database", self.where),
            Fact("postgresql", str(server)),
            Fact("connections", f"{used} of {most}", crowded if used > 0.8 * most else ""),
            Fact(
                "database's clock",
                f"{ahead:.1f} s apart from this machine's",
                "" if ahead < 60 else "set the clocks of this machine and the database's",
            ),
        )

    def _bring_to_head(self) -> None:
        from registry.catalog import postgres_migration as migration

        with self.engine.connect() as connection:
            if migration.revision_of(connection, self.where) == HEAD:
                return
        with self.engine.connect() as connection:
            self.migration = migration.migrate(connection, self.where)

    def _connect(self) -> Any:
        """Return a connection of the driver, for the pool."""
        url: str = self.address.url
        try:
            given = self._psycopg.conninfo.conninfo_to_dict(url)
            timeout = {} if "connect_timeout" in given else {"connect_timeout": CONNECT_SECONDS}
            driver = self._psycopg.connect(url, **timeout, client_encoding="utf8", autocommit=True)
            # Prepared statements belong to one process of the server, and a pooler gives out several by turns: what it
            # says of the process is then not what that says of itself.
            process, path = driver.execute("SELECT pg_backend_pid(), current_setting('search_path')").fetchone()
            asked = search_path(given.get("options") or os.environ.get("PGOPTIONS", ""))
            if asked not in (None, path):  # or this would be another registry
                driver.close()
                raise OptionsNotPassedOn(self.where)
            driver.prepare_threshold = _PREPARED_AFTER if process == driver.info.backend_pid else None
            driver.autocommit = False
            return driver
        except self._psycopg.Error as error:
            why = self.address.without_secrets(str(error)).removeprefix("connection failed: ")
            if _NOT_PASSED_ON in why:
                raise OptionsNotPassedOn(self.where) from None
            # Not with the driver's error: what it was given stands in that one's frames.
            raise DatabaseUnreachable(self.where, why) from None

    def _word(self, error: DBAPIError) -> RegistryError | None:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        told = getattr(getattr(error.orig, "diag", None), "message_primary", None) or str(error.orig)
        message = self.address.without_secrets(told)
        if message.startswith(MOVED):
            return HomeMoved(self.where, message.partition(MOVED)[2])
        if error.connection_invalidated or state.startswith(("57P", "08")):
            return DatabaseLost(self.where, message)
        if state == "42501" and str(error.statement).startswith("SELECT"):
            return HomeUnusable(
                self.where, f"PostgreSQL reports '{message}'; ask its owner to GRANT SELECT on its tables"
            )
        for states, word in _WORDS:
            if state.startswith(states):
                return word(self.where, message)
        return None


_WORDS: tuple[tuple[tuple[str, ...], Callable[[str, str], RegistryError]], ...] = (
    (("55P03", "57014", "40"), lambda where, message: DatabaseBusy(where, BUSY_SECONDS)),
    (("53",), lambda where, message: DatabaseFull(where)),
    (("42501", "25006"), lambda where, message: HomeReadOnly(where)),
    (
        ("42P01", "42703", "3F000", "3D000", "XX", "58"),
        lambda where, message: HomeUnusable(where, f"PostgreSQL reports '{message}'"),
    ),
)
"""What a user can meet, by how PostgreSQL numbers it."""


def is_current(address: DatabaseAddress) -> bool:
    """Whether a database is at this program's revision; it is left as it is.

    Raises:
        RegistryError: it cannot be asked.
    """
    from registry.catalog.postgres_migration import revision_of

    database = Postgres(address, opens=False)
    try:
        with database.worded(), database.engine.connect() as connection:
            return revision_of(connection, database.where) == HEAD
    finally:
        database.engine.dispose()


def _literal(text: str) -> str:
    """Write a text into a statement that takes no parameters."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _driver() -> Any:
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        raise ExtraMissing("a catalog on PostgreSQL", "postgres") from error
    return psycopg
