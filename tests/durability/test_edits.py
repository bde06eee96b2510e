"""Whatever a hand changes in the database, an audit finds: each cell of each table, each row taken out or put in."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import freeze
import pytest
import torch
from databases import Statement, edit_as_owner, place_of, run_sql, tamper
from grounds import KINDS, Ground, chosen, ground_of
from homes import check_weights, push
from safetensors.torch import save_file
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from registry import Registry
from registry.catalog import event_statements
from registry.catalog.schema import METADATA
from registry.errors import ChangedVersion, RegistryError

T = TypeVar("T")

TABLES = (
    *("models", "versions", "metrics", "tags", "aliases", "documents", "version_blobs", "blobs", "stored_tensors"),
    *("former_names", "events", "trail", "tokens", "alembic_version"),
)


TAGS = {"task": "seg", "data": "S3DIS area 5"}


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with something in every table and every state."""
    with chosen(request) as ground:
        home = ground.home(tmp_path_factory.mktemp("kept") / "home")
        fill(ground.open(home))
        assert Registry(home).audit().is_clean
        yield home


@pytest.fixture
def home(kept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return ground_of(kept).copy(kept, tmp_path / "home")


def fill(hub: Registry) -> None:
    home = hub.home
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


def push_folder(hub: Registry, folder: Path) -> None:
    """Push what has a card, files and a builder, whose library is not asked."""
    folder.mkdir()
    save_file({"weight": torch.ones(2)}, folder / "adapter_model.safetensors")
    files = {"adapter_config.json": '{"peft_type": "LORA"}', "vocab.txt": "a", "README.md": "# An adapter"}
    for name, text in files.items():
        (folder / name).write_text(text)
    assert hub.push(folder, "adapter").builder == "peft"


def columns(table: str) -> list[str]:
    return ["version_num"] if table == "alembic_version" else [column.name for column in METADATA.tables[table].columns]


def rows(home: Path, table: str) -> list[tuple[object, ...]]:
    quoted = ", ".join(f'"{column}"' for column in columns(table))
    return run_sql(place_of(home), f"SELECT {quoted} FROM {table} ORDER BY 1")


def where(table: str, row: Sequence[object]) -> Statement:
    """Return a condition that a row alone satisfies."""
    pairs = zip(columns(table), row, strict=True)
    same = [f'"{column}" IS NULL' if value is None else f'"{column}" = ?' for column, value in pairs]
    return " AND ".join(same), tuple(value for value in row if value is not None)


def some_of(home: Path, found: Iterable[T], key: Callable[[T], object] = lambda each: None) -> list[T]:
    """Return all; of a home elsewhere, where each takes long, of each kind the first."""
    if not ground_of(home).is_elsewhere:
        return list(found)
    return list({key(each): each for each in reversed(list(found))}.values())


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


def edits(home: Path, table: str) -> Iterator[tuple[str, Statement]]:
    """Yield every change of one cell that the table may take: which column, and the statement."""
    for row in rows(home, table):
        condition, values = where(table, row)
        for column, value in zip(columns(table), row, strict=True):
            for other in others(value):
                if other != value:
                    yield column, (f'UPDATE {table} SET "{column}" = ? WHERE {condition}', (other, *values))


def is_found(home: Path) -> bool:
    hub = Registry(home)
    try:
        return not hub.audit().is_clean
    except RegistryError:
        return True
    finally:
        hub.close()


HARMLESS = {
    # A push that does not find a tensor writes it again; a repair takes such rows out itself.
    ("stored_tensors", "removed"),
    # A file that no version needs is forgotten by the next collection.
    ("blobs", "added"),
}


def removals(home: Path, table: str) -> Iterator[list[Statement]]:
    """Yield the removal of each row."""
    for row in rows(home, table):
        yield [removal(table, row)]


def additions(home: Path, table: str) -> Iterator[list[Statement]]:
    """Yield a copy of each row under another key."""
    new = {int: 10**6, str: "f" * 64}
    keys = {**dict.fromkeys(TABLES, 1), "metrics": 2, "tags": 2, "aliases": 2, "documents": 2, "version_blobs": 2}
    for row in rows(home, table):
        for column in range(keys[table]):
            copy = [*row[:column], new[type(row[column])], *row[column + 1 :]]
            if table == "versions":
                copy[columns(table).index("number")] = 10**6
            if table in ("blobs", "models", "tokens"):
                copy[1] = "f" * 64
            if table == "models":
                copy[columns(table).index("uid")] = "f" * 32
            yield [insertion(table, copy)]


def exchanges(home: Path, table: str) -> Iterator[list[Statement]]:
    """Yield what two neighbors say, exchanged."""
    keys = 2 if table in ("metrics", "tags", "aliases", "documents") else 1
    for one, other in itertools.pairwise(rows(home, table)):
        if one[keys:] != other[keys:]:
            out = [removal(table, row) for row in (one, other)]
            yield [*out, *(insertion(table, row) for row in (one[:keys] + other[keys:], other[:keys] + one[keys:]))]


def removal(table: str, row: Sequence[object]) -> Statement:
    condition, values = where(table, row)
    return f"DELETE FROM {table} WHERE {condition}", values


def insertion(table: str, row: Sequence[object]) -> Statement:
    quoted = ", ".join(f'"{column}"' for column in columns(table))
    return f"INSERT INTO {table} ({quoted}) VALUES ({', '.join('?' * len(row))})", tuple(row)


def renew(kept: Path, home: Path) -> None:
    """Undo all edits of a copy."""
    if ground_of(kept).is_elsewhere or not home.exists():
        ground_of(kept).copy(kept, home)
        return
    for part in home.glob("registry.db*"):
        part.unlink()
    shutil.copy(kept / "registry.db", home)


def missed(kept: Path, home: Path, tried: Iterable[tuple[T, Sequence[Statement]]]) -> list[T]:
    """Make each edit, in a copy of its own; return what of those that the database took no audit finds."""
    left, count = [], 0
    for what, statements in tried:
        renew(kept, home)
        if edit_as_owner(place_of(home), statements):
            count += 1
            if not is_found(home):
                left.append(what)
    assert count
    return left


@pytest.mark.parametrize("table", TABLES)
def test_every_edit_of_a_cell_is_found(kept: Path, tmp_path: Path, table: str) -> None:
    tried = some_of(kept, edits(kept, table), lambda edit: edit[0])
    assert missed(kept, tmp_path / "home", (((*edit,), [edit[1]]) for edit in tried)) == []


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
    tried = some_of(kept, changes(kept, table))
    assert missed(kept, tmp_path / "home", ((edit, edit) for edit in tried)) == []


def test_what_is_harmless_and_not_found_harms_nothing(home: Path) -> None:
    change(
        home,
        "DELETE FROM stored_tensors WHERE blob_id = 1",
        f"INSERT INTO blobs (id, digest, nbytes, created_at) SELECT 99, '{'f' * 64}', 7, min(at) FROM events",
    )
    hub = Registry(home)
    assert hub.audit().is_clean
    entry = push(hub, 1, force_new=True)
    check_weights(hub, entry.ref, 1)
    hub.gc()
    assert "f" * 64 not in hub.catalog.known_blobs()
    assert hub.audit().is_clean


def change(home: Path, *statements: str) -> None:
    run_sql(place_of(home), *statements)


def test_an_audit_says_what_was_edited(home: Path) -> None:
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


def test_a_version_of_a_model_that_was_renamed_by_hand_is_called_what_it_was(home: Path) -> None:
    change(home, "UPDATE models SET name = 'wrong' WHERE name = 'other'")
    found = {fault.ref: fault.what for fault in Registry(home).audit().faults}
    assert found["wrong:v1"] == "its row was edited: it was sealed as 'other', which its model was never called"
    assert "other:v1" not in found


def test_an_audit_of_a_renamed_model_finds_its_events_under_all_its_names_by_the_index(home: Path) -> None:
    hub = Registry(home)
    for name in ("team/final", "first-draft", "team/first", "team/final:v1"):
        assert hub.audit(name).is_clean
    assert {entry.sealed_as for entry in hub.list("team/final")} == {"first-draft", "team/final"}
    change(home, "UPDATE former_names SET name = 'nothing' WHERE name = 'team/first'")
    (fault,) = hub.audit("team/final").faults
    assert fault.ref == "team/final" and "by the trail it was called first-draft, team/first" in fault.what
    if not ground_of(home).is_elsewhere:
        found = event_statements.events_after(("team/final", "first-draft")).params(after=0)
        assert "USING INDEX ix_events_name" in plan(home, found)


def plan(home: Path, statement: Select[Any]) -> str:
    """Return how SQLite answers a statement."""
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="named"), compile_kwargs={"literal_binds": True})
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        return str(connection.execute(f"EXPLAIN QUERY PLAN {compiled}").fetchall())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE models SET name = 'other-name' WHERE name = 'team/final'",
        "UPDATE versions SET sealed_as = 'other-name' WHERE sealed_as = 'team/final'",
        "UPDATE versions SET sealed_as = 'first-draft' WHERE sealed_as = 'team/final'",
    ],
)
def test_a_version_that_was_sealed_under_a_name_that_its_model_never_had_is_not_loaded(
    home: Path, statement: str
) -> None:
    uid = Registry(home).get("team/final").uid
    change(home, statement)
    hub = Registry(home)
    ref = next(entry.ref for entry in hub.list() if entry.uid == uid and entry.version == 2)
    with pytest.raises(ChangedVersion):
        hub.state_dict(ref)


def test_an_audit_of_one_name_reads_its_events_alone_and_finds_what_was_edited_there(home: Path) -> None:
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
    if not ground_of(home).is_elsewhere:
        assert "USING INDEX ix_events_name" in plan(home, event_statements.events_after(("net",)).params(after=0))


@pytest.mark.parametrize("of", [None, "net", "net:v2"])
def test_an_event_that_was_taken_out_is_missed_in_every_audit(home: Path, of: str | None) -> None:
    tamper(place_of(home), "DELETE FROM events WHERE reference = 'net:v4' AND verb = 'rm'")
    assert {fault.kind for fault in Registry(home).audit(of).faults} == {"trail"}


@pytest.mark.parametrize("ground", KINDS, indirect=True)
def test_changes_go_on_while_an_audit_runs(ground: Ground, tmp_path: Path) -> None:
    hub = ground.open(ground.home(tmp_path / "home"))
    push(hub, 0)
    stop = threading.Event()

    def work() -> None:
        mine = ground.open(tmp_path / "home")
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
