"""Bytes that are no text, anywhere in the database: an audit names them, and what is beside them is read as ever."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from sqlalchemy import Column, LargeBinary, String, Table

from registry import Registry
from registry.catalog.schema import METADATA
from registry.errors import RegistryError

COLUMNS = [
    (table, column)
    for table in METADATA.sorted_tables
    if not table.info.get("untold")
    for column in table.columns
    if isinstance(column.type, (String, LargeBinary)) and column.name != "kind"
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hub = Registry(tmp_path_factory.mktemp("whole") / "home")
    net = torch.nn.Linear(3, 2)
    hub.push(net, "net", optimizer=torch.optim.Adam(net.parameters()), metrics={"acc": 1}, tags={"a": "b"}, note="n")
    hub.push(torch.nn.Linear(3, 2), "net", aliases=["best"])
    hub.rename("net", "renamed")
    hub.push({"first": torch.nn.Linear(3, 2), "second": torch.nn.Linear(2, 2)}, "parts")
    hub.push(torch.nn.Linear(3, 2), "other")
    hub.add_token("ann", expires=timedelta(days=1))
    assert hub.audit().is_clean
    hub.catalog.close()
    return hub.home


def spoil(home: Path, table: Table, column: Column[object]) -> None:
    """Write over a column of one row, whatever keeps a program of ours from it."""
    keys = ", ".join(key.name for key in table.primary_key)
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        changed = connection.execute(
            f"UPDATE {table.name} SET \"{column.name}\" = CAST(x'fffe41' AS TEXT) "
            f"WHERE ({keys}) = (SELECT {keys} FROM {table.name} ORDER BY {keys} LIMIT 1)"
        )
        assert changed.rowcount == 1


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda each: each.name)
def test_an_audit_names_what_is_no_text(table: Table, column: Column[object], whole: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(whole, tmp_path / "home"))
    spoil(home, table, column)
    hub = Registry(home)
    assert not hub.audit().is_clean
    hub.list()
    hub.log()


@pytest.mark.parametrize("cell", ["key", "value"])
def test_a_tag_of_two_lines_keeps_no_version_from_being_listed(whole: Path, tmp_path: Path, cell: str) -> None:
    home = Path(shutil.copytree(whole, tmp_path / "home"))
    listed = [entry.ref for entry in Registry(home).list()]
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute(f"UPDATE tags SET {cell} = 'a' || char(10) || 'b'")
    hub = Registry(home)
    assert [entry.ref for entry in hub.list()] == listed
    assert hub.audit().bad_references == ("renamed:v1",)


def test_a_version_beside_an_illegible_document_loads_and_that_one_does_not(whole: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(whole, tmp_path / "home"))
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("UPDATE documents SET body = CAST(x'ff' AS TEXT) WHERE version_id = 1")
    hub = Registry(home)
    assert hub.audit().bad_references == ("renamed:v1",)
    with pytest.raises(RegistryError, match="renamed:v1"):
        hub.state_dict("renamed:v1")
    assert len(hub.state_dict("renamed:v2")) == len(hub.state_dict("other")) == 2
