"""The programs of ``benchmarks/`` run, as docs/performance.md calls them: what they measure of toys says nothing, but a
program that nobody runs is soon broken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FAMILIES = ("pushing", "deduplication", "search")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("benchmarks")
    families = FAMILIES
    subprocess.run(
        [sys.executable, "-m", "benchmarks", "--toy", "--json", str(folder / "report.json"), "--folder", str(folder)]
        + [word for family in families for word in ("--only", family)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    found: dict[str, object] = json.loads((folder / "report.json").read_text())
    found["left behind"] = [path.name for path in folder.iterdir() if path.name != "report.json"]
    return found


def test_every_row_has_both_sides_and_their_ratio(report: dict[str, list[dict[str, object]]]) -> None:
    assert {row["family"] for row in report["rows"]} == set(FAMILIES)
    assert all(row["ours"] and row["theirs"] and row["ratio"] for row in report["rows"])


def test_a_run_leaves_nothing_behind(report: dict[str, object]) -> None:
    assert report["left behind"] == []


def test_a_checkpoint_that_is_stored_makes_no_new_blob(report: dict[str, list[dict[str, object]]]) -> None:
    assert "no new blobs" in [row["remark"] for row in report["rows"]]
