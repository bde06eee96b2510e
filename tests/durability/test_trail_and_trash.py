"""What was done stays written down; what was removed can be had back until its grace is over."""

from __future__ import annotations

import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import freeze
import pytest
from databases import place_of, run_sql, tamper
from grounds import Ground
from homes import AT_ONCE, check_collected, check_weights, check_whole, files, push, refusal

from registry import Registry
from registry.catalog.migration import HEAD
from registry.errors import DatabaseDamaged, RegistryError


@pytest.fixture
def hub(ground: Ground, tmp_path: Path) -> Registry:
    hub = ground.open(ground.home(tmp_path / "home"))
    for seed in (1, 2, 3):
        push(hub, seed)
    hub.alias("net:v1", "best")
    hub.rm("net:v3")
    return hub


def test_the_log_has_everything_that_was_done_and_by_whom(hub: Registry) -> None:
    hub.restore("net:v3")
    hub.unalias("net", "best")
    hub.rm("net:v2")
    hub.gc(grace=AT_ONCE)
    told = [(event.verb, event.reference) for event in reversed(hub.log())]
    assert told == [
        ("push", "net:v1"),
        ("push", "net:v2"),
        ("push", "net:v3"),
        ("alias", "net:v1"),
        ("rm", "net:v3"),
        ("restore", "net:v3"),
        ("unalias", "net:v1"),
        ("rm", "net:v2"),
        ("gc", "net:v2"),
        ("gc", None),
    ]
    now = datetime.now(UTC)
    assert all(event.actor and timedelta(0) <= now - event.at < timedelta(minutes=1) for event in hub.log())
    assert hub.log("net")[-1].digest == hub.get("net:v1").digest


EDITS = {
    "an event changed": "UPDATE events SET actor = 'nobody' WHERE id = 2",
    "its details changed": "UPDATE events SET details = '{}' WHERE id = 4",
    "an event removed": "DELETE FROM events WHERE id = 3",
    "the last one removed": "DELETE FROM events WHERE id = 5",
    "one added": "INSERT INTO events SELECT 6, at, actor, verb, name, reference, digest, details, hash, hash, facts "
    "FROM events WHERE id = 5",
    "the chain's end changed": "UPDATE trail SET length = 4",
    "the chain's end removed": "DELETE FROM trail",
    "two exchanged": "UPDATE events SET verb = CASE id WHEN 4 THEN 'rm' ELSE 'alias' END WHERE id > 3",
    "all removed": "DELETE FROM events",
}


@pytest.mark.parametrize("edit", ["an event changed", "an event removed", "all removed"])
def test_the_database_itself_refuses_to_change_the_trail(hub: Registry, edit: str) -> None:
    with pytest.raises(Exception, match="append-only"):
        run_sql(place_of(hub), EDITS[edit])


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_the_trail_is_found(hub: Registry, edit: str) -> None:
    assert hub.audit().is_clean
    place = place_of(hub)
    before = [run_sql(place, f"SELECT * FROM {table} ORDER BY id") for table in ("events", "trail")]
    tamper(place, EDITS[edit])
    assert [run_sql(place, f"SELECT * FROM {table} ORDER BY id") for table in ("events", "trail")] != before
    assert {fault.kind for fault in hub.audit().faults} == {"trail"}


def test_a_home_whose_trail_was_edited_is_read_and_refuses_changes_in_a_sentence(hub: Registry) -> None:
    tamper(place_of(hub), "UPDATE events SET at = '2020x', details = 'x' WHERE id = 2", "DELETE FROM trail")
    assert {event.number: event.details for event in hub.log()}[2] == {"unreadable": "x"}
    with pytest.raises(DatabaseDamaged, match="trail"):
        push(hub, 9)


def test_nothing_is_deleted_that_was_not_in_the_trash(hub: Registry) -> None:
    before = files(hub.home)
    assert hub.gc().versions == ()
    assert files(hub.home) == before
    assert hub.restore("net:v3").ref == "net:v3"
    check_whole(hub)


def test_a_grace_period_is_kept_to_the_second(hub: Registry) -> None:
    assert hub.gc(grace=timedelta(seconds=60)).versions == ()
    assert hub.gc(grace=timedelta(days=1_000_000)).versions == ()
    assert hub.gc(grace=timedelta.max).versions == ()
    assert hub.gc(grace=AT_ONCE).versions == ("net:v3",)
    assert "was removed and collected" in refusal(lambda: hub.restore("net:v3"))
    assert "was removed and collected" in refusal(lambda: hub.state_dict("net:v3"))
    assert push(hub, 3).ref == "net:v4"


@pytest.mark.parametrize("grace", [timedelta(days=7), AT_ONCE])
def test_a_dry_run_tells_what_a_collection_does_and_does_nothing(hub: Registry, grace: timedelta) -> None:
    ((hub.cache or hub.home) / "tmp" / "killed.part").write_bytes(b"half")
    before, events = files(hub.home), len(hub.log())
    would = hub.gc(dry_run=True, grace=grace)
    assert files(hub.home) == before and len(hub.log()) == events
    done = hub.gc(grace=grace)
    assert before - files(hub.home) == {name for name in done.files if name in before}
    assert set(done.files) == set(would.files)
    assert (would.versions, would.nbytes) == (done.versions, done.nbytes)
    assert bool(done.versions) is (grace == AT_ONCE)
    check_whole(hub)


def test_what_others_share_with_a_collected_version_stays(hub: Registry) -> None:
    hub.rm("net:v1", force=True)
    hub.gc(grace=AT_ONCE)
    check_weights(hub, "net:v2", 2)
    check_collected(hub)


@pytest.mark.parametrize("archive", sorted(freeze.FIXTURES.glob("home-*.tar.gz")), ids=lambda path: path.name)
def test_a_home_of_every_released_revision_can_be_used(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path)
    hub = Registry(tmp_path / "home")
    migration = hub.catalog.migration
    assert (migration is None) is (HEAD in archive.name)
    assert migration is None or (migration.backup is not None and migration.backup.is_file())
    check_whole(hub)
    assert [entry.ref for entry in hub.list()] == ["other:v1", "net:v2", "net:v1"]
    assert hub.get("net:v2").parent == "net:v1" and hub.get("net:v1").world_size == 8
    assert hub.get("net:last").ref == "net:v2"
    with pytest.raises(RegistryError, match="collected"):
        hub.get("net:v3")
    hub.restore("net:v4")
    check_weights(hub, "net:v4", 4)
    assert push(hub, 5).ref == "net:v5"
    check_whole(hub)


def test_this_revision_is_frozen_before_it_is_released() -> None:
    for kind in ("home", "rich"):
        assert (freeze.FIXTURES / f"{kind}-{HEAD}.tar.gz").is_file()
