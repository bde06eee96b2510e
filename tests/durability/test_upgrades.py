"""What programs of every earlier revision left is loaded, resumed, changed and audited as if it were new."""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import freeze
import pytest
import torch
from homes import AT_ONCE, check_weights

from registry import Registry
from registry.catalog.migration import HEAD
from registry.errors import PurgedVersion, TrashedVersion

ARCHIVES = sorted(freeze.FIXTURES.glob("rich-*.tar.gz"))
pytestmark = pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)


@pytest.fixture
def home(archive: Path, tmp_path: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path)
    return tmp_path / "home"


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_an_upgrade_is_backed_up_and_keeps_every_row(home: Path, archive: Path) -> None:
    before = dump(home / "registry.db")
    migration = Registry(home).catalog.migration
    if HEAD in archive.name:
        assert migration is None
        return
    assert migration is not None and migration.backup is not None
    assert sorted(dump(migration.backup)) == sorted(before)
    values = {line.removesuffix(");") for line in before if line.startswith("INSERT") and "alembic" not in line}
    kept = "\n".join(dump(home / "registry.db")).replace("'sha256:", "'")  # which says since the third what it is
    assert values and all(value in kept for value in values)


def test_every_version_loads_as_what_it_was(home: Path) -> None:
    hub = Registry(home)
    for number, seed in ((1, 0), (2, 1)):
        model, report = hub.load(f"classed:v{number}", report=True)
        wanted = freeze.linear(seed)
        assert torch.equal(model.get_parameter("weight"), wanted.weight)
        assert torch.equal(model.get_parameter("bias"), wanted.bias)
        assert report.ref == f"classed:v{number}"
    tied = hub.state_dict("tied")
    assert torch.equal(tied["embed.weight"], torch.arange(12.0).reshape(4, 3))
    assert tied["embed.weight"].data_ptr() == tied["head.weight"].data_ptr() and int(tied["steps"]) == 7
    assert hub.catalog.manifest_and_documents(hub.get("tied"))[0].ties == (("embed.weight", "head.weight"),)
    check_weights(hub, "wrapped", 1)


def test_what_is_known_of_a_version_is_known_still(home: Path) -> None:
    hub = Registry(home)
    measured = hub.get("classed:v1")
    assert measured.metrics == {"acc": 0.5, "f1": 0.25} and measured.note == "seed 0\n\nmeasured again"
    assert (measured.world_size, measured.model_class, measured.origin) == (8, "torch.nn:Linear", None)
    assert measured.init == {"in_features": 3, "out_features": 2}
    assert hub.get("classed:best").ref == "classed:v2" and hub.get("classed:v2").aliases == ("best",)
    assert hub.get("wrapped").parent == "classed:v2"
    for ref, refusal in (("classed:v3", TrashedVersion), ("classed:v4", PurgedVersion)):
        with pytest.raises(refusal):
            hub.get(ref)
    assert [event.number for event in hub.log()] == list(range(len(hub.log()), 0, -1))


def test_a_job_is_resumed_and_its_example_gives_what_it_gave(home: Path) -> None:
    hub = Registry(home)
    model, optimizer, scheduler = freeze.job()
    resumed = hub.resume("team.trained:last", model, optimizer, scheduler)
    assert resumed.step == 1 and scheduler.last_epoch == 2
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    assert all("momentum_buffer" in optimizer.state[parameter] for parameter in model.parameters())
    assert hub.replay("team.trained:v2", model=model.eval()).deviation is None


def test_nothing_of_it_is_damaged_and_what_is_not_covered_is_a_note(home: Path, archive: Path) -> None:
    hub = Registry(home)
    report = hub.audit()
    assert report.is_clean, report.faults
    if "0001" in archive.name:
        events = len(hub.log())
        assert [note.partition(":")[0] for note in report.notes] == [f"not covered before event {events + 1}"]
        for note in ("seen", "seen again"):
            hub.catalog.add_facts(hub.get("tied"), note=note)
        report = hub.audit()
        assert report.is_clean and f"before event {events + 1}: what the catalog says of 7 versions" in report.notes[0]
    else:
        assert report.notes == ()


@pytest.mark.parametrize(
    ("edit", "ref"),
    [
        ("UPDATE metrics SET value = 0.99 WHERE key = 'f1'", "classed:v1"),
        ("UPDATE versions SET note = 'tied twice' WHERE note = 'tied'", "tied:v1"),
        ("UPDATE versions SET trashed_at = created_at WHERE note = 'tied'", "tied:v1"),
        ("UPDATE versions SET trashed_at = NULL WHERE note = 'seed 2'", "classed:v3"),
        ("UPDATE aliases SET version_id = version_id - 1 WHERE name = 'best'", "classed:best"),
        ("DELETE FROM versions WHERE purged_at IS NOT NULL", "classed:v4"),
    ],
)
def test_an_edit_of_what_older_events_hold_is_found(home: Path, edit: str, ref: str) -> None:
    Registry(home).catalog.close()
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        assert connection.execute(edit).rowcount == 1
    assert [fault.ref for fault in Registry(home).audit().faults if fault.ref != "classed"] == [ref]


def test_it_goes_on(home: Path) -> None:
    hub = Registry(home)
    hub.restore("classed:v3")
    assert [hub.push(freeze.linear(seed).state_dict(), "classed").ref for seed in (2, 3)] == [
        "classed:v3",
        "classed:v5",
    ]
    hub.alias("classed:v5", "best")
    hub.rm("classed:v2")
    hub.gc(grace=AT_ONCE)
    with pytest.raises(PurgedVersion):
        hub.get("classed:v2")
    check_weights(hub, "wrapped", 1)
    report = hub.audit()
    assert report.is_clean, report.faults
