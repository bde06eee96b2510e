"""The commands of a page run, in their order, and do what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import old_checkpoints
import pytest

from registry import Registry

DOCS = Path(__file__).parents[2] / "docs"
ENDS_WITH_1 = ("import ./old",)
"""Beginnings of commands that may end with 1, since the folder has files that cannot be taken."""


def commands(page: str) -> list[str]:
    """Return the commands of a page in their order."""
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / page).read_text(), re.S)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of a user, with the folder of old checkpoints in it and ``registry`` to be called."""
    old_checkpoints.mixed(tmp_path / "old")
    shutil.copy(tmp_path / "old" / "several.pth", tmp_path / "several.pth")
    called = tmp_path / "bin" / "registry"
    called.parent.mkdir()
    called.write_text(f"#!{sys.executable}\nfrom registry.cli import main\nmain()\n")
    called.chmod(0o755)
    return tmp_path


def follow(page: str, place: Path) -> dict[str, str]:
    """Run every command of a page, as a user does, and return what each printed."""
    environment = {
        **os.environ,
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "REGISTRY_HOME": str(place / "home"),
    }
    said = {}
    for command in commands(page):
        run = subprocess.run(command, shell=True, cwd=place, env=environment, capture_output=True, text=True)
        may_fail = command.removeprefix("registry ").startswith(ENDS_WITH_1)
        assert run.returncode in ((0, 1) if may_fail else (0,)), f"{command}\n{run.stdout}{run.stderr}"
        assert "Traceback" not in run.stderr, f"{command}\n{run.stderr}"
        said[command] = run.stdout
    return said


def test_the_page_on_importing(place: Path) -> None:
    said = follow("importing.md", place)
    assert "stored: 21 versions of 9 models" in said["registry import ./old"]
    assert Registry(place / "home").get("tiny:v1").weights_key == "model"


def test_the_page_on_thirty_checkpoints(place: Path) -> None:
    said = follow("thirty_checkpoints.md", place)
    best = said["registry list pointnet sort:-best_acc --limit 3"]
    assert re.findall(r"pointnet:v\d+", best) == ["pointnet:v6", "pointnet:v5", "pointnet:v4"]
    hub = Registry(place / "home")
    assert hub.get("pointnet:best").ref == "pointnet:v6"
    assert hub.get("pointnet:v1").trashed_at is None
    assert hub.audit().is_clean
