"""The demonstration, as somebody new meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from invocation import on_a_terminal

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def shell(line: str, folder: Path) -> str:
    """Run a line as it would be pasted, and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if key != "REGISTRY_HOME"}
    environment |= {"PATH": PATH, "XDG_DATA_HOME": str(folder / "data")}
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("somewhere")


@pytest.fixture(scope="module")
def drawn(place: Path) -> str:
    """What the demonstration draws on the terminal; what it prints is in a file."""
    environment = {**os.environ, "PATH": PATH, "XDG_DATA_HOME": str(place / "data"), "COLUMNS": "100", "TERM": "xterm"}
    return on_a_terminal(["sh", "-c", "registry demo --home 'my demo' >told"], "stderr", cwd=place, env=environment)


@pytest.fixture(scope="module")
def told(place: Path, drawn: str) -> list[str]:
    return (place / "told").read_text().splitlines()


def test_its_bar_moves_from_the_first_process_to_the_last_load(drawn: str) -> None:
    for step in ("process 2 of 2", "epoch 6 of 6", "pushed ddp.pth as pointnet:v2", "on one device", "100%"):
        assert step in drawn


def accuracies(told: list[str], way: str) -> list[float]:
    """Return what a way of loading makes of each of the two files."""
    found = [line.split(way)[1].split()[0] for line in told if line.startswith("model_ddp") and way in line]
    return [float(percent.rstrip("%")) for percent in found]


def test_the_usual_recipes_lose_the_model(told: list[str]) -> None:
    wrapped, bare = accuracies(told, "load_state_dict(strict=False)")
    assert wrapped < 35 and bare > 90
    assert all(accuracy < 70 for accuracy in accuracies(told, 'key.replace("module.", "")'))


def test_the_registry_gives_the_trained_model_back_everywhere(told: list[str]) -> None:
    for way in ("registry.load(ref) ", "registry.load(ref, ddp=True)"):
        (first, second) = accuracies(told, way)
        assert first == second > 90
    assert sum(line.endswith("25 of 25") for line in told) == 5  # four loads, and the one recipe that has nothing to do
    assert any("the digest is the same" in line for line in told)


def test_it_fits_a_terminal_of_80_columns(told: list[str]) -> None:
    assert all(len(line) <= 80 for line in told if not line.startswith(("The registry and", "  registry")))


def test_a_training_that_fails_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "registry-demo" / "ddp.pth").mkdir(parents=True)
    done = subprocess.run(
        ["registry", "demo"], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PATH": PATH}
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("registry: ") and "--home" in done.stderr


def test_what_to_try_next_works_as_printed(told: list[str], place: Path) -> None:
    lines = told[told.index("Try next:") + 1 :]
    printed = [shell(line, place) for line in lines]
    rows = {row.split()[0]: row for row in printed[0].splitlines()}
    assert "best" in rows["pointnet:v2"] and "acc=" in rows["pointnet:v1"] and "data=bodies" in rows["pointnet:v1"]
    assert "saved wrapped" in printed[1]
    assert "different: 25 tensors" in printed[2]
    assert "cut `module` at the root (ddp, declared)" in printed[3]
    assert "no damage found" in printed[4]
