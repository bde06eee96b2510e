"""Which pushes a collection takes for running, by what lies in the folder of leases, or in the table."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time

import pytest

from registry.blobs.running import BELIEVED_SECONDS, FileLeases
from registry.blobs.shared_leases import SharedLeases
from registry.catalog.catalog import Catalog


def test_what_cannot_be_opened_counts_for_a_day(tmp_path):
    place = tmp_path / "elsewhere"
    place.touch()
    (tmp_path / "a.json").symlink_to(place)  # which is never followed
    leases = FileLeases(tmp_path)
    assert len(leases.held().ids) == 1
    old = time.time() - BELIEVED_SECONDS - 1
    os.utime(place, (old, old))
    assert len(leases.held().ids) == 0
    place.unlink()
    assert len(leases.held().ids) == 0


def rows(home, *, seconds=120, renewal=20.0, local="running"):
    """Leases of one machine, on a catalog that others share; its own files are in a folder of its own."""
    return SharedLeases(Catalog(home).leases, FileLeases(home / local), seconds=seconds, renewal=renewal)


def test_a_push_of_one_machine_is_seen_on_another(tmp_path):
    here, there = rows(tmp_path, local="here"), rows(tmp_path, local="there")
    lease = here.lease()
    assert there.held().ids == frozenset()
    lease.claim()
    lease.claim("a" * 64)
    lease.doom(["b" * 64])
    assert there.held() == here.held()
    assert there.held().ids == {lease.id} and there.held().blobs == {"a" * 64} and there.held().doomed == {"b" * 64}
    lease.release()
    assert there.held().ids == here.held().ids == frozenset()


def test_a_lease_is_renewed_while_its_push_runs_and_runs_out_after_it(tmp_path):
    there = rows(tmp_path, local="there")
    child = os.fork()
    if child == 0:
        rows(tmp_path, seconds=3, renewal=0.3, local="here").lease().claim("a" * 64)
        time.sleep(60)
        os._exit(1)
    try:
        while not there.held().ids:
            time.sleep(0.05)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            assert there.held().blobs == {"a" * 64}
            time.sleep(0.3)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    time.sleep(4.5)
    assert there.held().ids == frozenset()


def test_what_a_collection_dooms_is_seen_when_it_commits_and_not_if_it_fails(tmp_path):
    catalog = Catalog(tmp_path)
    leases = SharedLeases(catalog.leases, FileLeases(tmp_path / "here"))
    there = rows(tmp_path, local="there")
    lease = leases.lease()
    with pytest.raises(KeyboardInterrupt), catalog.write_lock():
        lease.doom(["a" * 64])
        raise KeyboardInterrupt
    assert there.held().doomed == frozenset()
    with catalog.write_lock():
        lease.doom(["b" * 64])
    assert there.held().doomed >= {"b" * 64}
    lease.release()


def test_a_lease_that_could_not_be_renewed_is_over_for_its_holder_first(tmp_path):
    lease = rows(tmp_path, seconds=2, renewal=60.0).lease()
    lease.claim("a" * 64)
    assert lease.is_held
    time.sleep(1.8)
    assert not lease.is_held
    lease.release()


def test_a_row_that_somebody_edited_claims_nothing(tmp_path):
    there = rows(tmp_path)
    there.lease().claim("a" * 64)
    with contextlib.closing(sqlite3.connect(tmp_path / "registry.db")) as database:
        database.execute("UPDATE leases SET blobs = '{', doomed = '3'")
        database.commit()
    held = SharedLeases(Catalog(tmp_path).leases, FileLeases(tmp_path / "elsewhere")).held()
    assert held.blobs == held.doomed == frozenset()
