"""Whatever a hand changes in the database, an audit finds: each cell of each table, each row taken out or put in."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import freeze
import pytest
import torch
from homes import AT_ONCE, push

from registry import Registry
from registry.errors import RegistryError

TABLES = (
    *("models", "versions", "metrics", "aliases", "documents", "version_blobs", "blobs", "stored_tensors"),
    *("events", "trail", "alembic_version"),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with something in every table and every state."""
    home = tmp_path_factory.mktemp("kept") / "home"
    hub = Registry(home)
    freeze.fill(hub)
    push(hub, 7, aliases=["next"])
    push(hub, 7)
    hub.push(torch.nn.Linear(2, 2), "net", example=(torch.ones(1, 2),), metrics={"loss": 0.5})
    hub.catalog.close()
    assert Registry(home).audit().is_clean
    return home


def tables(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}


def others(value: object) -> Iterator[object]:
    """Yield values that a cell may be changed to."""
    if isinstance(value, bytes):
        yield value[:-1] + bytes([value[-1] ^ 1])
        yield value + b"\0"
        yield b""
    elif isinstance(value, str):
        yield value + "x"
        yield ""
        yield b"\xff"
    elif isinstance(value, int):
        yield from (value + 1, -value - 1, 10**9)
    elif isinstance(value, float):
        yield from (value + 1, value + 1e-12)
    else:
        yield from ("x", 1)
    yield None


def edits(path: Path, table: str) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """Yield every change of one cell that the table takes: which column, the statement, its values."""
    columns = tables(path)[table]
    with closing(sqlite3.connect(path)) as connection:
        for row in connection.execute(f"SELECT * FROM {table}").fetchall():
            where = " AND ".join(f'"{column}" IS ?' for column in columns)
            for column, value in zip(columns, row, strict=True):
                for other in others(value):
                    if other != value:
                        yield column, f'UPDATE {table} SET "{column}" = ? WHERE {where}', (other, *row)


def is_found(home: Path) -> bool:
    hub = Registry(home)
    try:
        return not hub.audit().is_clean
    except RegistryError:
        return True
    finally:
        hub.catalog.close() if "catalog" in vars(hub) else None


def edited(home: Path, before: bytes, *statements: tuple[str, tuple[object, ...]]) -> bool:
    """Edit a database as its owner can; return whether it took it, and whether anything changed."""
    path = home / "registry.db"
    for part in (path, *home.glob("registry.db-*")):
        part.unlink()
    path.write_bytes(before)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("DROP TRIGGER events_no_update; DROP TRIGGER events_no_delete;")
        try:
            return all(connection.execute(*statement).rowcount > 0 for statement in statements)
        except sqlite3.IntegrityError:
            return False


@pytest.mark.parametrize("table", TABLES)
def test_every_edit_of_a_cell_is_found(kept: Path, tmp_path: Path, table: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    before = (home / "registry.db").read_bytes()
    tried, missed = 0, []
    for column, statement, values in list(edits(home / "registry.db", table)):
        if edited(home, before, (statement, values)):
            tried += 1
            if not is_found(home):
                missed.append((column, values))
    assert tried
    assert missed == []
