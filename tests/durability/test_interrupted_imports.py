"""An import that is killed, or meets what changes under it, loses nothing; another one takes it up."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import old_checkpoints as making
import pytest
from homes import is_made
from stepping import arm_calls, survives

from registry import Registry
from registry.importing import intake
from registry.importing.plan import Step, plan
from registry.importing.report import ImportReport

STRIDE = int(os.environ.get("KILL_STRIDE", "4")) * 5


def several(folder: Path) -> Path:
    """Make two models, one of them with a duplicate."""
    for number in range(3):
        making.put(folder / "a" / f"{number}.pth", {"epoch": number, "model": making.weights(number)}, number)
    making.put(folder / "a" / "twin.safetensors", making.weights(1), 5)
    making.shards(folder / "b", making.weights(9, classes=9), 7)
    return folder


def stored(hub: Registry) -> dict[str, tuple[str, dict[str, float]]]:
    return {entry.ref: (entry.digest, dict(entry.metrics)) for entry in hub.list()} if is_made(hub) else {}


def test_a_killed_import_is_resumed_by_another_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    folder = several(tmp_path / "in")
    whole = Registry(tmp_path / "whole")
    whole.import_folder(folder)
    wanted = stored(whole)
    assert len(wanted) == 4

    def act(home: Path) -> ImportReport:
        return Registry(home).import_folder(folder)

    kills, parts = 0, set()
    while not survives(partial(act, home := tmp_path / f"home{kills}"), 1 + kills * STRIDE, arm_calls):
        hub = Registry(home)
        before = stored(hub)
        assert before.items() <= wanted.items()
        assert not is_made(hub) or hub.audit().is_clean
        found = {line.ref for line in hub.import_folder(folder).lines if line.verdict == "already there"}
        assert found == set(before)
        assert stored(hub) == wanted
        assert hub.audit().is_clean
        hub.close()
        parts.add(len(before))
        kills += 1
    assert parts >= {1, 2, 3}


def test_a_file_that_vanishes_before_its_push_stops_nothing(
    tmp_path: Path, hub: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = several(tmp_path / "in")

    def and_then(*arguments: Any) -> tuple[Step, ...]:
        steps = plan(*arguments)
        (folder / "a" / "1.pth").unlink()
        return steps

    monkeypatch.setattr(intake, "plan", and_then)
    report = hub.import_folder(folder)
    assert {line.path: line.verdict for line in report.lines} == {
        "a/0.pth": "new",
        "a/1.pth": "unreadable",
        "a/2.pth": "new",
        "a/twin.safetensors": "new",
        "b": "new",
    }
    assert [line.path for line in report.failures] == ["a/1.pth"]


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
def test_what_may_not_be_read_is_named_and_stops_nothing() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o777)
        making.put(place / "in" / "net.pth", making.weights(1), 1)
        making.put(place / "in" / "closed.pth", making.weights(2), 1).chmod(0)
        making.put(place / "in" / "closed" / "net.pth", making.weights(3), 1).parent.chmod(0)
        making.put(place / "in" / "listed" / "net.pth", making.weights(4), 1).parent.chmod(0o444)
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            report = Registry(place / "home").import_folder(place / "in")
            found = {line.path: line.verdict for line in report.lines}
            closed = dict.fromkeys(("closed", "closed.pth", "listed/net.pth"), "unreadable")
            os._exit(0 if found == {**closed, "net.pth": "new"} and not report.is_complete else 1)
        assert os.waitpid(child, 0)[1] == 0
