"""The programs of ``benchmarks/`` run, as docs/performance.md calls them: what they measure of toys says nothing, but a
program that nobody runs is soon broken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

_HAS_BROWSER = bool(find_spec("playwright")) and Path("/usr/bin/chromium").exists()
_SERVED = (["serving"] + ["pages"] * _HAS_BROWSER) if find_spec("uvicorn") else []
FAMILIES = ("pushing", "deduplication", "search", "growing", "racing", "clients", *_SERVED)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("benchmarks")
    families = FAMILIES
    subprocess.run(
        [sys.executable, "-m", "benchmarks", "--toy", "--json", str(folder / "report.json"), "--folder", str(folder)]
        + ["--plot", str(folder / "growth.svg")]
        + [word for family in families for word in ("--only", family)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=300,
    )
    found: dict[str, object] = json.loads((folder / "report.json").read_text())
    found["plot"] = (folder / "growth.svg").read_text()
    kept = ("report.json", "growth.svg")
    found["left behind"] = [path.name for path in folder.iterdir() if path.name not in kept]
    return found


def test_every_row_has_both_sides_and_their_ratio(report: dict[str, list[dict[str, object]]]) -> None:
    assert {row["family"] for row in report["rows"]} == set(FAMILIES)
    measured = [row for row in report["rows"] if not row["skipped"]]
    assert all(row["ours"] and row["theirs"] and row["ratio"] for row in measured)
    lacking = [str(row["skipped"]) for row in report["rows"] if row["skipped"]]
    assert all("is not installed" in why for why in lacking), lacking


def test_a_missed_goal_has_beside_it_what_cannot_be_left_out(report: dict[str, list[dict[str, Any]]]) -> None:
    (push, *_) = (row for row in report["rows"] if row["what"].startswith("push of a"))
    assert push["floor"]["what"].startswith("inspect, then cp and fsync, beside BLAKE3 of the file")
    assert len(push["floor"]["figures"]) == len(push["ours"])


def test_a_run_leaves_nothing_behind(report: dict[str, object]) -> None:
    assert report["left behind"] == []


def test_a_checkpoint_that_is_stored_makes_no_new_blob(report: dict[str, list[dict[str, object]]]) -> None:
    assert "no new blobs" in [row["remark"] for row in report["rows"]]


def test_how_verbs_grow_is_drawn(report: dict[str, Any]) -> None:
    drawn = ElementTree.fromstring(report["plot"])
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"resolve an alias", "push, for each tensor"} <= set(texts)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == sum(
        bool(row["growth"]) for row in report["rows"]
    )


@pytest.mark.parametrize(
    "what",
    [
        ["versions", "--count", "300"],
        ["large", "--gigabytes", "0.1"],
        pytest.param(["serve", "--minutes", "0.05"], marks=pytest.mark.services),
    ],
)
def test_what_takes_hours_runs_for_seconds(what: list[str], tmp_path: Path) -> None:
    if what[0] == "serve":
        what = [*what, "--clients", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--folder", str(tmp_path), *what],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout.splitlines()
    assert done.stderr == "" and said[-1].startswith("load"), done.stderr
    assert what[0] != "serve" or done.returncode == 0, done.stdout
    assert not list(tmp_path.iterdir())
