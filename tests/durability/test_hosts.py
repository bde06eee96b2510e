"""Several hosts on one catalog and one bucket: nothing is lost, nothing is half there, and each says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import plays
import pytest
from bucket_server import Buckets, buckets_in
from databases import Server, own_server

pytestmark = pytest.mark.services

SECONDS_AWAY = float(os.environ.get("SECONDS_AWAY", "2"))
"""How long a server is gone, after everybody has noticed."""


def home_at(folder: Path, bucket: str, database: str | None = None) -> None:
    """Say where the catalog and the blobs are; with a database, each host has a home of its own."""
    said = f'blobs = "{bucket}"\ncache = "~/cache"\n'
    if database is not None:
        (folder / "registry.toml").write_text(f'catalog = "{database}"\n{said}')
    else:
        (folder / "home").mkdir()
        (folder / "home" / "registry.toml").write_text(said)


def start(play: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, plays.__file__, play, str(folder)],
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


@pytest.mark.parametrize(
    "play",
    [
        "one_pushes_and_another_loads",
        "eight_pushers_each",
        "killed_at_every_step",
        "put_and_killed",
        "the_database_is_killed_at_every_step",
        "repaired",
        "a_lease_outlives_no_push",
    ],
)
def test_hosts_that_share_a_database_and_a_bucket(
    play: str, tmp_path: Path, postgres: Server, bucket: str, buckets: Buckets
) -> None:
    address = postgres.schema()
    home_at(tmp_path, bucket, address.url)
    said = played(start(play, tmp_path, buckets.environment))
    assert "Traceback" not in said, said
    postgres.drop(address)


def test_a_database_that_goes_away_loses_nothing(tmp_path: Path, bucket: str, buckets: Buckets) -> None:
    with own_server() as server:
        home_at(tmp_path, bucket, server.schema().url)
        (tmp_path / "no-catalog").touch()
        playing = start("a_server_goes_away", tmp_path, buckets.environment)
        wait_for(tmp_path / "down", playing)
        server.kill()
        wait_for(tmp_path / "go-on", playing)
        time.sleep(SECONDS_AWAY)
        server.start()
        (tmp_path / "up").touch()
        played(playing)


def test_a_bucket_that_goes_away_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with buckets_in(tmp_path / "server") as server:
        home_at(tmp_path, server.fresh())
        playing = start("a_server_goes_away", tmp_path, server.environment)
        wait_for(tmp_path / "down", playing)
        server.stop()
        wait_for(tmp_path / "go-on", playing)
        time.sleep(SECONDS_AWAY)
        server.start()
        (tmp_path / "up").touch()
        played(playing)


def wait_for(path: Path, playing: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 300
    while not path.exists():
        assert playing.poll() is None, playing.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)
