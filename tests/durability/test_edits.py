"""Whatever a hand changes in the database, an audit finds: each cell of each table, each row taken out or put in."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import freeze
import pytest
import torch
from homes import check_weights, push
from safetensors.torch import save_file
from sqlalchemy.dialects import sqlite

from registry import Registry
from registry.catalog import event_statements
from registry.errors import ChangedVersion, RegistryError

TABLES = (
    *("models", "versions", "metrics", "tags", "aliases", "documents", "version_blobs", "blobs", "stored_tensors"),
    *("former_names", "events", "trail", "tokens", "alembic_version"),
)


TAGS = {"task": "seg", "data": "S3DIS area 5"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with something in every table and every state."""
    home = tmp_path_factory.mktemp("kept") / "home"
    hub = Registry(home)
    freeze.fill(hub)
    push(hub, 7, aliases=["next"])
    push(hub, 7)
    hub.push(torch.nn.Linear(2, 2), "net", example=(torch.ones(1, 2),), metrics={"loss": 0.5}, tags=TAGS)
    push_folder(hub, home.with_name("folder"))
    hub.tag("net:v6", {"split": "a"}, remove=["task"])
    hub.annotate("net:v6", metrics={"loss": 0.4, "f1": 0.5})
    hub.annotate("net:v6", remove=["f1"])
    for seed, name in enumerate(("first", "second")):
        push(hub, seed, name=f"{name}-draft", aliases=["best"])
        hub.rename(f"{name}-draft", f"team/{name}")
    hub.add_token("ann", role="write", models=["team/*"], expires=timedelta(days=1))
    hub.add_token("bob")
    hub.revoke_token("bob")
    hub.rename("team/first", "first-draft")
    hub.rename("first-draft", "team/final")
    push(hub, 8, name="team/final", aliases=["best"])
    # A copied job, some of whose tensors lie here elsewhere than where it was pushed.
    colleague = Registry(home.parent / "colleague")
    model, optimizer, _ = freeze.job()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    colleague.push(model, "job", optimizer=optimizer, metrics={"loss": 0.25}, tags=TAGS)
    [first, *_] = optimizer.state_dict()["state"].values()
    hub.push({"buffer": first["momentum_buffer"]}, "net")
    colleague.copy("job", home)
    assert hub.catalog.document(hub.get("job"), "places") is not None
    colleague.close()
    hub.catalog.close()
    assert Registry(home).audit().is_clean
    return home


def push_folder(hub: Registry, folder: Path) -> None:
    """Push what has a card, files and a builder, whose library is not asked."""
    folder.mkdir()
    save_file({"weight": torch.ones(2)}, folder / "adapter_model.safetensors")
    files = {"adapter_config.json": '{"peft_type": "LORA"}', "vocab.txt": "a", "README.md": "# An adapter"}
    for name, text in files.items():
        (folder / name).write_text(text)
    assert hub.push(folder, "adapter").builder == "peft"


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
        with contextlib.suppress(UnicodeDecodeError):
            yield value.decode()
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
        hub.close()


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


Statement = tuple[str, tuple[object, ...]]

HARMLESS = {
    # A push that does not find a tensor writes it again; a repair takes such rows out itself.
    ("stored_tensors", "removed"),
    # A file that no version needs is forgotten by the next collection.
    ("blobs", "added"),
}


def removals(path: Path, table: str) -> Iterator[list[Statement]]:
    """Yield the removal of each row."""
    for row in rows(path, table):
        yield [(f"DELETE FROM {table} WHERE {where(path, table)}", row)]


def additions(path: Path, table: str) -> Iterator[list[Statement]]:
    """Yield a copy of each row under another key."""
    new = {int: 10**6, str: "f" * 64}
    keys = {**dict.fromkeys(TABLES, 1), "metrics": 2, "tags": 2, "aliases": 2, "documents": 2, "version_blobs": 2}
    for row in rows(path, table):
        for column in range(keys[table]):
            copy = [*row[:column], new[type(row[column])], *row[column + 1 :]]
            if table == "versions":
                copy[tables(path)[table].index("number")] = 10**6
            if table in ("blobs", "models", "tokens"):
                copy[1] = "f" * 64
            if table == "models":
                copy[tables(path)[table].index("uid")] = "f" * 32
            yield [insertion(table, copy)]


def exchanges(path: Path, table: str) -> Iterator[list[Statement]]:
    """Yield what two neighbors say, exchanged."""
    keys = 2 if table in ("metrics", "tags", "aliases", "documents") else 1
    found = rows(path, table)
    for one, other in itertools.pairwise(found):
        if one[keys:] != other[keys:]:
            out = [(f"DELETE FROM {table} WHERE {where(path, table)}", row) for row in (one, other)]
            yield [*out, *(insertion(table, row) for row in (one[:keys] + other[keys:], other[:keys] + one[keys:]))]


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def where(path: Path, table: str) -> str:
    return " AND ".join(f'"{column}" IS ?' for column in tables(path)[table])


def insertion(table: str, row: Sequence[object]) -> Statement:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", tuple(row)


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


@pytest.mark.parametrize(
    ("table", "what", "changes"),
    [
        (table, what, changes)
        for table in TABLES
        for what, changes in (("removed", removals), ("added", additions), ("exchanged", exchanges))
        if (table, what) not in HARMLESS
        and not (table in ("trail", "alembic_version") and what != "removed")
        and not (table == "version_blobs" and what == "exchanged")
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_row_that_was_taken_out_put_in_or_exchanged_is_found(
    kept: Path, tmp_path: Path, table: str, what: str, changes: Callable[[Path, str], Iterator[list[Statement]]]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    before = (home / "registry.db").read_bytes()
    tried, missed = 0, []
    for edit in list(changes(home / "registry.db", table)):
        if edited(home, before, *edit):
            tried += 1
            if not is_found(home):
                missed.append(edit)
    assert tried
    assert missed == []


def test_what_is_harmless_and_not_found_harms_nothing(kept: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("DELETE FROM stored_tensors WHERE blob_id = 1")
        connection.execute("INSERT INTO blobs VALUES (99, ?, 7, (SELECT min(at) FROM events))", ("f" * 64,))
    hub = Registry(home)
    assert hub.audit().is_clean
    entry = push(hub, 1, force_new=True)
    check_weights(hub, entry.ref, 1)
    hub.gc()
    assert "f" * 64 not in hub.catalog.known_blobs()
    assert hub.audit().is_clean


def change(home: Path, *statements: str) -> None:
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_an_audit_says_what_was_edited(kept: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    change(
        home,
        "UPDATE metrics SET value = 0.99 WHERE version_id = 1",
        "UPDATE versions SET note = 'good' WHERE id = 2",
        "UPDATE versions SET trashed_at = created_at WHERE id = 5",
        "UPDATE aliases SET version_id = 1 WHERE name = 'next'",
        "DELETE FROM aliases WHERE name = 'last' AND model_id = 2",
        "UPDATE versions SET git_commit = 'abcdef', parent = NULL WHERE id = 7",
    )
    found = {fault.ref: fault.what for fault in Registry(home).audit().faults}
    assert found["net:v1"] == "its metric seed is 0.99, and 1.0 in the trail"
    assert found["net:v2"] == "its note is 'good', and 'seed 2' in the trail"
    assert found["other:v1"].startswith("it is in the trash since ")
    assert found["net:next"] == "it points to net:v1, and the trail says that it points to net:v5"
    assert found["other:last"] == "it points nowhere, and the trail says that it points to other:v1"
    assert found["net:v6"].startswith("what the catalog says of it is not what event")
    assert len(found) == 6


def test_a_version_of_a_model_that_was_renamed_by_hand_is_called_what_it_was(kept: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    change(home, "UPDATE models SET name = 'wrong' WHERE name = 'other'")
    found = {fault.ref: fault.what for fault in Registry(home).audit().faults}
    assert found["wrong:v1"] == "its row was edited: it was sealed as 'other', which its model was never called"
    assert "other:v1" not in found


def test_an_audit_of_a_renamed_model_finds_its_events_under_all_its_names_by_the_index(
    kept: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    hub = Registry(home)
    for name in ("team/final", "first-draft", "team/first", "team/final:v1"):
        assert hub.audit(name).is_clean
    assert {entry.sealed_as for entry in hub.list("team/final")} == {"first-draft", "team/final"}
    change(home, "UPDATE former_names SET name = 'nothing' WHERE name = 'team/first'")
    (fault,) = hub.audit("team/final").faults
    assert fault.ref == "team/final" and "by the trail it was called first-draft, team/first" in fault.what
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        found = event_statements.events_after(("team/final", "first-draft")).params(after=0)
        dialect = sqlite.dialect(paramstyle="named")
        compiled = found.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        plan = connection.execute(f"EXPLAIN QUERY PLAN {compiled}")
        assert "USING INDEX ix_events_name" in str(plan.fetchall())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE models SET name = 'other-name' WHERE name = 'team/final'",
        "UPDATE versions SET sealed_as = 'other-name' WHERE sealed_as = 'team/final'",
        "UPDATE versions SET sealed_as = 'first-draft' WHERE sealed_as = 'team/final'",
    ],
)
def test_a_version_that_was_sealed_under_a_name_that_its_model_never_had_is_not_loaded(
    kept: Path, tmp_path: Path, statement: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    uid = Registry(home).get("team/final").uid
    change(home, statement)
    hub = Registry(home)
    ref = next(entry.ref for entry in hub.list() if entry.uid == uid and entry.version == 2)
    with pytest.raises(ChangedVersion):
        hub.state_dict(ref)


def test_an_audit_of_one_name_reads_its_events_alone_and_finds_what_was_edited_there(
    kept: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    change(
        home,
        "UPDATE versions SET note = 'good' WHERE id = 5",
        "UPDATE aliases SET version_id = 1 WHERE name = 'next'",
    )
    hub = Registry(home)
    assert [fault.ref for fault in hub.audit("other").faults] == ["other:v1"]
    assert [fault.ref for fault in hub.audit("net").faults] == ["net:next"]
    assert [fault.ref for fault in hub.audit("net:v2").faults] == []
    assert [fault.ref for fault in hub.audit("net:v1").faults] == ["net:next"]
    assert [fault.ref for fault in hub.audit("net:v5").faults] == ["net:next"]
    change(home, "UPDATE versions SET note = 'good' WHERE id = 2")
    assert [fault.ref for fault in hub.audit("net:v2").faults] == ["net:v2"]
    assert [fault.ref for fault in hub.audit("net:v1").faults] == ["net:next"]
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        compiled = event_statements.events_after(("net",)).compile(dialect=sqlite.dialect(paramstyle="named"))
        plan = connection.execute(f"EXPLAIN QUERY PLAN {compiled}", {**compiled.params, "after": 0})
        assert "USING INDEX ix_events_name" in str(plan.fetchall())


@pytest.mark.parametrize("of", [None, "net", "net:v2"])
def test_an_event_that_was_taken_out_is_missed_in_every_audit(kept: Path, tmp_path: Path, of: str | None) -> None:
    home = tmp_path / "home"
    shutil.copytree(kept, home)
    change(home, "DROP TRIGGER events_no_delete", "DELETE FROM events WHERE reference = 'net:v4' AND verb = 'rm'")
    assert {fault.kind for fault in Registry(home).audit(of).faults} == {"trail"}


def test_changes_go_on_while_an_audit_runs(tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    push(hub, 0)
    stop = threading.Event()

    def work() -> None:
        mine = Registry(tmp_path / "home")
        for seed in itertools.count():
            if stop.is_set():
                return
            entry = push(mine, seed, aliases=["last"])
            mine.catalog.add_facts(entry, metrics={"acc": seed})
            if seed > 2:
                mine.rm(f"net:v{seed - 2}")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        faults = [fault for _ in range(20) for fault in hub.audit().faults]
    finally:
        stop.set()
        worker.join()
    assert faults == []
