"""Several hosts on one catalog and one bucket: nothing is lost, nothing is half there, and each says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import hosts
import pytest
from bucket_server import Buckets, buckets_in

pytestmark = pytest.mark.services


def home_at(folder: Path, bucket: str) -> None:
    (folder / "home").mkdir()
    (folder / "home" / "registry.toml").write_text(f'blobs = "{bucket}"\ncache = "~/cache"\n')


def start(play: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, hosts.__file__, play, str(folder)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def played(process: subprocess.Popen[str]) -> str:
    said = process.communicate(timeout=600)[0]
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize(
    "play",
    [
        "one_pushes_and_another_loads",
        "everything_at_once",
        "killed_at_every_step",
        "put_and_killed",
        "workers_of_a_data_loader",
        "repaired",
        "a_lease_outlives_no_push",
    ],
)
def test_hosts_that_share_a_bucket(play: str, tmp_path: Path, bucket: str, buckets: Buckets) -> None:
    home_at(tmp_path, bucket)
    said = played(start(play, tmp_path, buckets.environment))
    assert "Traceback" not in said, said


def test_a_bucket_that_goes_away_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with buckets_in(tmp_path / "server") as server:
        home_at(tmp_path, server.fresh())
        playing = start("the_bucket_goes_away", tmp_path, server.environment)
        wait_for(tmp_path / "down", playing)
        server.stop()
        wait_for(tmp_path / "go-on", playing)
        time.sleep(2)
        server.start()
        (tmp_path / "up").touch()
        played(playing)


def wait_for(path: Path, playing: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 300
    while not path.exists():
        assert playing.poll() is None, playing.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)
