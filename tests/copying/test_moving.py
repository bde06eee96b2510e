"""A registry that is taken to another place: all of it, once, and whole on one side whenever it is killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from databases import KINDS, Place, Server, all_rows, configure, fresh, place_of, run_sql
from invocation import run
from killing import killed_at_each_statement

from registry import Registry
from registry.catalog.catalog import Catalog
from registry.errors import DamagedBlob, HomeMoved, InvalidConfiguration, OtherRegistry, SamePlace


@pytest.fixture
def source(tmp_path: Path) -> Registry:
    """A registry with something in every table, purged and trashed versions among them."""
    hub = Registry(tmp_path / "source")
    backbone = torch.arange(500.0)
    for step in range(5):
        hub.push(
            {"backbone": backbone, "head": torch.full((3,), float(step))},
            "net",
            metrics={"acc": step / 10, "loss": -0.0},
            tags={"task": "ség"},
            aliases=["last"],
            note="día\n2 'quoted' %s \\ $1",
            parent=f"net:v{step}" if step else None,
        )
    hub.push({"w": torch.zeros(0), "x": torch.ones(3, dtype=torch.bfloat16)}, "team/other")
    hub.rm("net:v2")
    hub.gc(grace=timedelta(0))
    hub.rm("net:v3")
    hub.rename("team/other", "team/new")
    hub.card("net", "# What it is")
    hub.add_token("ann", role="write", models=["team/*"])
    return hub


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty home on each database."""
    with fresh(request, tmp_path / "target") as place:
        yield place if isinstance(place, Path) else configure(tmp_path / "target", place)


def rows(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    return all_rows(place, "leases")  # of what runs, or was killed, in one of the places


def blobs(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "blobs").rglob("*.safetensors")}


def test_everything_is_there_under_the_ids_that_it_had_and_the_next_numbers_follow(
    source: Registry, target: Path
) -> None:
    folder, before = source.home, rows(source.home)
    report = source.move(target)
    moved = Registry(target)
    assert rows(place_of(moved)) == before and blobs(target) == blobs(folder)
    assert (report.versions, report.blobs) == (5, len(blobs(folder)))
    assert moved.audit().is_clean and torch.equal(moved.state_dict("net")["head"], torch.full((3,), 4.0))
    assert moved.push({"w": torch.ones(9)}, "net").ref == "net:v6"
    assert moved.push({"w": torch.ones(10)}, "third").ref == "third:v1"
    assert moved.add_token("bob").token.number == 2
    assert moved.audit().is_clean


def test_the_folder_that_was_left_leads_there_and_what_is_in_it_stays(source: Registry, target: Path) -> None:
    folder = source.home
    source.move(target)
    assert source.home == target and (folder / "registry.db").exists() and blobs(folder)
    assert Registry(folder).push({"w": torch.ones(9)}, "net").ref == "net:v6"
    assert Registry(target).list("net")[0].ref == "net:v6"
    assert json.loads(run("list", "net", "--json", home=folder / "registry.toml").stdout)[0]["ref"] == "net:v6"


def test_who_had_it_open_can_read_it_and_is_told_where_it_is_when_changing_it(source: Registry, target: Path) -> None:
    still_open = Catalog(source.home)
    entry = still_open.resolve("net")
    source.move(target)
    assert still_open.resolve("net").ref == entry.ref
    with pytest.raises(HomeMoved, match=str(target)):
        still_open.set_alias(entry, "best")


def test_a_move_once_more_changes_nothing_and_one_to_where_it_is_is_refused(source: Registry, target: Path) -> None:
    folder = source.home
    source.move(target)
    Registry(target).push({"w": torch.ones(9)}, "net")
    (folder / "registry.toml").unlink()  # as if it had been killed before the last step
    report = Registry(folder).move(target)
    assert report.blobs == 0 and Registry(folder).list("net")[0].ref == "net:v6"
    with pytest.raises(SamePlace):
        Registry(folder).move(target)


def test_what_is_there_is_not_copied_again_and_a_part_of_it_goes_on(source: Registry, target: Path) -> None:
    folder = source.home
    kept = shutil.copytree(folder, folder.with_name("kept"))
    source.move(target)
    # The copy that was kept goes on by itself for a while, and then becomes the other one, too.
    moved_to_once = Registry(target)
    moved_to_once.close()
    hub = Registry(kept)
    hub.push({"backbone": torch.arange(500.0), "head": torch.full((3,), 77.0)}, "net")
    report = hub.move(target)
    assert report.blobs == 1 and rows(place_of(Registry(target))) == rows(kept)
    assert Registry(target).audit().is_clean


def test_a_place_that_has_another_registry_or_went_on_by_itself_is_left_alone(source: Registry, target: Path) -> None:
    other = Registry(target)
    other.push({"w": torch.ones(2)}, "theirs")
    with pytest.raises(OtherRegistry):
        source.move(target)
    assert [entry.ref for entry in Registry(target).list()] == ["theirs:v1"]
    assert source.push({"w": torch.ones(9)}, "net").ref == "net:v6" and not (source.home / "registry.toml").exists()


def test_damaged_bytes_stop_a_move_before_anything_is_switched(source: Registry, target: Path) -> None:
    victim = max((source.home / "blobs").rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    victim.chmod(0o644)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    with pytest.raises(DamagedBlob, match="registry audit"):
        source.move(target)
    assert source.push({"w": torch.ones(9)}, "net").ref == "net:v6"


def test_an_edited_row_that_the_other_side_would_not_say_stops_a_move(source: Registry, target: Path) -> None:
    source.close()
    run_sql(source.home, "UPDATE versions SET note = 'edited' WHERE number = 1")
    before = source.audit().faults
    source.move(target)
    assert [fault.ref for fault in Registry(target).audit().faults] == [fault.ref for fault in before]


def test_a_move_killed_before_any_statement_is_finished_by_the_same_call(source: Registry, target: Path) -> None:
    folder, before = source.home, rows(source.home)
    source.close()

    def move() -> None:
        Registry(folder).move(target)

    kills = 0
    for at in killed_at_each_statement(move, stride=5):
        kills = at
        one_of_them = Registry(folder)
        assert len(one_of_them.list("net")) == 3
        one_of_them.close()
        if (folder / "registry.toml").exists():
            break
    assert kills > 20
    if not (folder / "registry.toml").exists():
        move()
    assert rows(place_of(Registry(target))) == before and Registry(folder).audit().is_clean
    assert Registry(folder).home == target


def test_a_home_may_go_back_to_where_it_was(source: Registry, target: Path) -> None:
    folder = source.home
    source.move(target)
    Registry(target).push({"w": torch.ones(9)}, "net")
    (folder / "registry.toml").unlink()
    Registry(target).move(folder)
    assert Registry(target).home == folder and Registry(folder).push({"w": torch.ones(8)}, "net").ref == "net:v7"
    assert Registry(folder).audit().is_clean


@pytest.mark.services
def test_a_registry_moves_to_a_database_and_a_bucket(
    source: Registry, postgres: Server, bucket: str, tmp_path: Path
) -> None:
    address = postgres.schema()
    left, count = source.home, len(blobs(source.home))
    Registry(tmp_path / "there").init(catalog=address.url, blobs=bucket, cache=tmp_path / "cache")
    assert source.move(tmp_path / "there").blobs == count
    assert not (tmp_path / "there" / "blobs").exists()
    moved = Registry(left)
    assert moved.audit().is_clean and moved.push({"w": torch.ones(9)}, "net").ref == "net:v6"
    shutil.rmtree(tmp_path / "cache")
    assert torch.equal(moved.state_dict("net:v5")["head"], torch.full((3,), 4.0))
    moved.close()
    postgres.drop(address)


def test_a_circle_of_moves_is_one_sentence(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        (tmp_path / one / "registry.toml").write_text(f'moved_to = "{tmp_path / other}"\n')
    with pytest.raises(InvalidConfiguration, match="in a circle"):
        Registry(tmp_path / "a").list()
