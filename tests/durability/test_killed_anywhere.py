"""Verbs killed with SIGKILL. ``python tests/durability/kill_points.py`` does it at every step, and prints totals."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import kill_points
import pytest
import torch
from grounds import Elsewhere
from homes import check_collected, check_whole, copy_of, made, push
from stepping import arm_calls, build_library, environment, survives

import registry.migrations
from registry import Registry
from registry.catalog import migration

STRIDE = int(os.environ.get("KILL_STRIDE", "4"))
RANDOM_KILLS = int(os.environ.get("RANDOM_KILLS", "10"))


@pytest.mark.parametrize("name", kill_points.SCENARIOS)
def test_a_verb_killed_at_any_call_is_done_or_undone(name: str, tmp_path: Path) -> None:
    kills = kill_points.step_through(kill_points.SCENARIOS[name], tmp_path, arm_calls, STRIDE)
    assert kills * STRIDE > 10


def test_a_verb_killed_at_any_system_call_is_done_or_undone(tmp_path: Path) -> None:
    library = build_library(tmp_path)
    if library is None:
        pytest.skip("there is no C compiler to build what counts system calls")
    run = subprocess.run(
        [sys.executable, kill_points.__file__, "system calls"],
        env={**environment(library), "KILL_STRIDE": str(8 * STRIDE)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "kill points survived" in run.stdout


@pytest.mark.services
def test_a_verb_killed_at_any_request_is_done_or_undone(elsewhere: Elsewhere) -> None:
    """Of a database on a server and of a bucket; begun in a process that has used none, and may fork those that do."""
    with elsewhere.reachable():
        run = subprocess.run(
            [sys.executable, kill_points.__file__, "requests"],
            env={**os.environ, "KILL_STRIDE": str(4 * STRIDE + 1)},
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr
    assert "kill points survived, by requests" in run.stdout


def test_a_migration_of_data_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    shutil.copytree(next(iter(registry.migrations.__path__)), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9999_color.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = '9999', '{migration.HEAD}'\n"
        "def upgrade():\n    with op.batch_alter_table('versions') as batch:\n"
        "        batch.add_column(sa.Column('color', sa.String(), nullable=False, server_default='blue'))\n"
    )
    template = made(tmp_path / "template", lambda hub: [push(hub, seed) for seed in (1, 2)])

    def upgrade(home: Path) -> object:
        return migration.migrate(home / "registry.db", is_network=False, scripts=scripts, head="9999")

    step = 1
    while True:
        home = copy_of(template, tmp_path / "home")
        if survives(partial(upgrade, home), step, arm_calls):
            break
        with closing(sqlite3.connect(home / "registry.db")) as connection:
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        if revision == migration.HEAD:
            hub = Registry(home)
            check_whole(hub)
            check_collected(hub)
            hub.catalog.close()
            upgrade(home)
        with closing(sqlite3.connect(home / "registry.db")) as connection:
            assert connection.execute("SELECT count(*), min(color) FROM versions").fetchone() == (2, "blue")
            assert connection.execute("SELECT count(*) FROM version_blobs").fetchone()[0] > 2
        step += STRIDE
    assert step > 20


def test_a_large_push_killed_at_random_times_is_there_or_not(tmp_path: Path) -> None:
    """150 MB: the kill falls into hashing, writing, the fsync, or the commit."""
    file = tmp_path / "large.pth"
    torch.save({f"module.{number}.weight": torch.randn(3_750_000) for number in range(10)}, file)
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    wanted = torch.load(file, mmap=True)
    seconds = 0.4
    draw = random.Random(20)
    for _ in range(RANDOM_KILLS):
        child = os.fork()
        if child == 0:
            Registry(hub.address).push(file, "large", force_new=True)
            os._exit(0)
        time.sleep(draw.random() * seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert hub.get("net").ref == "net:v1"
        assert hub.audit().is_clean
        check_collected(hub)
    entry = hub.push(file, "large")
    assert entry.version == hub.list("large")[0].version == len(hub.list("large"))
    stored = hub.state_dict("large")
    assert all(torch.equal(tensor, wanted[f"module.{name}"]) for name, tensor in stored.items())
