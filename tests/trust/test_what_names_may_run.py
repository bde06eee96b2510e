"""What a version names is imported by no verb where others may have written it: target by verb by kind of home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import COMMANDS, VERBS
from strangers import TELLTALE, edited, estrange

from registry import Registry

TARGETS = ("antigravity:X", "train:Net", "telltale:Net", "this:Zen", "train.antigravity:X")
HOMES = ("of another user", "that everybody may write", "with copied versions")
REFUSED = ("load", "replay", "registry load", "registry load --verify outputs")
"""What cannot be done without the class; everything else is done."""

Table = dict[str, dict[str, dict[str, Any]]]


def _answers(folder: Path, how: str | None) -> Table:
    """Return what a process in a folder with modules that tell of themselves got out of a home of one kind."""
    hub = Registry(folder / "home")
    for number, target in enumerate(TARGETS, 1):
        model = torch.nn.Linear(3, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        hub.push(model, "net", example=torch.ones(1, 3), optimizer=optimizer)
        edited(hub, f"net:v{number}", model_class=target, init={"width": 3}, init_as="kwargs")
    (folder / "telltale.py").write_text(TELLTALE)
    (folder / "train.py").write_text(f"open('trained', 'w')\n{TELLTALE}")
    if how is not None:
        estrange(hub, how)
    program = [sys.executable, str(Path(__file__).parent / "asking.py"), str(hub.home), str(len(TARGETS))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "XDG_CONFIG_HOME": str(folder / "config")}
    environment.pop("REGISTRY_TRUST", None)
    ended = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    table: Table = json.loads(ended.stdout)
    return table


@pytest.fixture(scope="module", params=HOMES)
def strange(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The answers from a home that others may have written."""
    return _answers(tmp_path_factory.mktemp("strange"), request.param)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The answers from a home of this user alone."""
    return _answers(tmp_path_factory.mktemp("own"), None)


@pytest.mark.parametrize("verb", [*VERBS, *COMMANDS])
@pytest.mark.parametrize("target", TARGETS)
def test_no_verb_runs_what_others_may_have_named(strange: Table, target: str, verb: str) -> None:
    found = strange[verb][f"net:v{TARGETS.index(target) + 1}"]
    assert found["ran"] == []
    if verb in REFUSED:
        assert found["outcome"].startswith(("exit 1: ", "UntrustedClass", "StandardLibraryTarget"))
        assert "Traceback" not in found["outcome"]
    else:
        assert found["outcome"].startswith("done" if verb in VERBS else "exit 0: ")


@pytest.mark.parametrize("target", ["antigravity:X", "this:Zen"])
@pytest.mark.parametrize("verb", [*VERBS, *COMMANDS])
def test_no_verb_runs_the_standard_library_from_any_home(own: Table, target: str, verb: str) -> None:
    assert own[verb][f"net:v{TARGETS.index(target) + 1}"]["ran"] == []


@pytest.mark.parametrize("target", ["train:Net", "telltale:Net"])
@pytest.mark.parametrize("verb", [*VERBS, *COMMANDS])
def test_in_a_home_of_the_users_own_the_same_question_builds_the_class(own: Table, target: str, verb: str) -> None:
    found = own[verb][f"net:v{TARGETS.index(target) + 1}"]["ran"]
    builds = verb in REFUSED or "audit" in verb
    assert ("wrote built" in found and target.partition(":")[0] in found) == builds
