"""A registry that goes to a database and a bucket and comes back, killed on the way again and again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from databases import all_rows, place_of
from grounds import Elsewhere
from homes import AT_ONCE, check_weights, push, stored
from stepping import arm_calls, arm_requests, survives

from registry import Registry
from registry.errors import SamePlace

STRIDE = 9


MOMENTARY = ("leases", "audits")
"""Tables of what runs, and of what the checks here have done."""


@pytest.fixture
def source(tmp_path: Path) -> Registry:
    """A registry in a folder, with versions that are in the trash and purged, a former name and a token."""
    hub = Registry(tmp_path / "left")
    for seed in range(1, 6):
        push(hub, seed, aliases=["last"], parent=f"net:v{seed - 1}" if seed > 1 else None, tags={"task": "ség"})
    push(hub, 7, name="draft")
    hub.rename("draft", "team/other")
    hub.rm("net:v2")
    hub.gc(grace=AT_ONCE)
    hub.rm("net:v3")
    hub.add_token("ann", role="write", models=["team/*"])
    return hub


def killed_until_done(move: Callable[[], object], check: Callable[[], object]) -> int:
    """Begin a move anew after each kill, at a later request or call by turns; return how many there were."""
    kills, step = 0, 1
    for arm in (arm_requests, arm_calls) * 1000:
        if survives(move, step, arm):
            return kills
        check()
        kills, step = kills + 1, step + STRIDE
    raise AssertionError("it does not come to an end")


def move(here: Path, there: Path) -> None:
    try:
        Registry(here).move(there)
    except SamePlace:  # it was killed after its last step
        assert (here / "registry.toml").exists()


@pytest.mark.services
@pytest.mark.forks
@pytest.mark.parametrize("ground", ["elsewhere"], indirect=True)
def test_a_registry_that_is_killed_on_its_way_there_and_back_has_all_that_it_had(
    ground: Elsewhere, source: Registry, tmp_path: Path
) -> None:
    left, there = source.home, ground.home(tmp_path / "there")
    source.close()
    before, blobs = all_rows(left, *MOMENTARY), stored(left)
    bodies = {path.name: path.read_bytes() for path in (left / "blobs").rglob("*.safetensors")}

    def is_whole(home: Path) -> None:
        hub = Registry(home)
        assert [entry.version for entry in hub.list("net")] == [5, 4, 1]
        assert hub.audit().is_clean
        check_weights(hub, "net:last", 5)

    kills = killed_until_done(partial(move, left, there), lambda: ground.apart(partial(is_whole, left)))
    assert kills > 5
    assert all_rows(place_of(there), *MOMENTARY) == before and stored(there) == blobs
    assert {Path(name).name: body for name, body in ground.objects(there).items()} == bodies

    def goes_on() -> None:
        hub = Registry(left)
        assert hub.home == there
        assert push(hub, 6).ref == "net:v6"

    ground.apart(goes_on)
    (left / "registry.toml").unlink()
    before, blobs = all_rows(place_of(there), *MOMENTARY), stored(there)
    ground.later(there)
    kills = killed_until_done(partial(move, there, left), lambda: None)
    assert kills > 5
    assert all_rows(left, *MOMENTARY) == before and stored(left) == blobs

    def is_back() -> None:
        hub = Registry(there)
        assert hub.home == left and hub.audit().is_clean
        assert push(hub, 8).ref == "net:v7"

    ground.apart(is_back)
