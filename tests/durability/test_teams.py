"""A team's home: a folder that hands on its group, in which every member pushes, lists and collects."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import freeze
import pytest
import torch
from homes import AT_ONCE, push, weights

from registry import Registry
from registry.errors import RegistryError

GROUP, ALICE, BOB, EVE = 43300, 43301, 43302, 43303
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as others")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder that others can get to, of a group, which it hands on."""
    # All modules are in memory before somebody acts who may not read where they are.
    hub = Registry(tmp_path / "warm")
    push(hub, 0)
    hub.gc(grace=AT_ONCE), hub.audit(), hub.list()
    folder = Path(tempfile.mkdtemp(prefix="team-", dir="/tmp"))
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2775)
    yield folder
    shutil.rmtree(folder)


def become(user: int, umask: int | None = None, group: int = GROUP) -> None:
    """Be another user from here on, which cannot be undone."""
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if umask is not None:
        os.umask(umask)


def act(user: int, work: Callable[[], object], umask: int = 0o002, group: int = GROUP) -> None:
    """Do something as another user, in a process of its own, and demand that it goes well."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            become(user, umask, group)
            work()
            code = 0
        except BaseException as error:
            print(f"{user}: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def push_and_close(home: Path, seed: int) -> None:
    """Push, and leave no log: the last one to close a database merges it."""
    hub = Registry(home)
    push(hub, seed, force_new=True)
    hub.catalog.close()


def steps(home: Path) -> dict[str, Callable[[int], object]]:
    return {
        "push": lambda seed: push(Registry(home), seed),
        "list": lambda seed: Registry(home).list(),
        "gc": lambda seed: Registry(home).gc(grace=AT_ONCE),
        "rm": lambda seed: Registry(home).rm(Registry(home).list("net")[-1].ref),
    }


@needs_root
@pytest.mark.parametrize("umasks", [(0o002, 0o002), (0o002, 0o022), (0o022, 0o002), (0o077, 0o077)])
@pytest.mark.parametrize("order", ["push list push gc push", "push push rm gc list push", "push gc rm push gc"])
def test_members_of_a_team_work_in_any_order(place: Path, order: str, umasks: tuple[int, int]) -> None:
    home = place / "home"
    for number, step in enumerate(order.split()):
        for user, umask in zip((ALICE, BOB), umasks, strict=True):
            if step == "push" or user == (ALICE, BOB)[number % 2]:
                act(user, partial(steps(home)[step], 10 * number + user), umask)
    hub = Registry(home)
    assert hub.audit().is_clean
    modes = {path: path.stat() for path in [home, *home.rglob("*")]}
    assert {status.st_gid for status in modes.values()} == {GROUP}
    assert all(status.st_mode & stat.S_IWGRP for path, status in modes.items() if path.is_dir())
    for name in ("registry.db", "registry.db.lock"):
        assert (home / name).stat().st_mode & stat.S_IWGRP


@needs_root
def test_a_member_whose_connection_is_open_locks_nobody_out(place: Path) -> None:
    home = place / "home"
    act(ALICE, lambda: push(Registry(home), 1))
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        become(BOB, 0o002)
        hub = Registry(home)
        hub.list()
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.read(ready[0], 1)
    act(ALICE, lambda: push(Registry(home), 2))
    os.write(done[1], b"x")
    os.waitpid(child, 0)
    act(ALICE, lambda: push(Registry(home), 3))
    act(BOB, lambda: push(Registry(home), 4))


@needs_root
def test_a_member_upgrades_a_home_whose_lock_file_is_another_s(place: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, place):  # the first, so that what an upgrade imports is in memory
        with tarfile.open(freeze.FIXTURES / "home-0001.tar.gz") as packed:
            packed.extractall(folder)
    assert Registry(tmp_path / "home").list()
    home = place / "home"
    lock = home / "registry.db.lock"
    lock.touch()
    for path in (home, *home.rglob("*")):
        os.chown(path, BOB, GROUP)
    os.chown(lock, ALICE, GROUP)
    lock.chmod(0o644)
    act(BOB, lambda: push(Registry(home), 9))
    assert Registry(home).audit().is_clean


@needs_root
@pytest.mark.parametrize("mode", [0o2775, 0o777, 0o755])
def test_who_may_only_read_leaves_nothing_behind(place: Path, mode: int) -> None:
    home = place / "home"
    act(ALICE, lambda: push_and_close(home, 1))
    home.chmod(mode)
    (home / "registry.db").chmod(0o644)

    def look() -> None:
        hub = Registry(home)
        assert [entry.ref for entry in hub.list()] == ["net:v1"] and hub.audit().is_clean
        with pytest.raises(RegistryError, match="write"):
            push(hub, 2)

    before = sorted(home.rglob("*"))
    act(EVE, look, group=EVE)
    assert sorted(home.rglob("*")) == before
    act(ALICE, lambda: push_and_close(home, 3))


@needs_root
def test_who_may_only_read_sees_what_others_push_meanwhile(place: Path) -> None:
    home = place / "home"
    act(ALICE, lambda: push_and_close(home, 1))
    home.chmod(0o755)
    (home / "registry.db").chmod(0o644)
    told, asked = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(EVE, group=EVE)
            hub = Registry(home)
            for _ in range(3):
                os.read(asked[0], 1)
                os.write(told[1], bytes([len(hub.list())]))
        finally:
            os._exit(0)
    os.close(told[1])
    for count in (1, 2, 3):
        os.write(asked[1], b"x")
        assert os.read(told[0], 1) == bytes([count])
        act(ALICE, partial(push_and_close, home, 10 + count))
    os.waitpid(child, 0)


@needs_root
def test_who_may_only_read_is_never_told_half_of_a_change(place: Path) -> None:
    home = place / "home"
    act(ALICE, lambda: push_and_close(home, 1))
    home.chmod(0o755)
    (home / "registry.db").chmod(0o644)
    child = os.fork()
    if child == 0:
        try:
            become(ALICE)
            for seed in range(30):
                push_and_close(home, seed)
        finally:
            os._exit(0)

    def look() -> None:
        hub = Registry(home)
        for _ in range(300):
            entries = hub.list()
            assert [entry.version for entry in entries] == list(range(len(entries), 0, -1))

    act(EVE, look, group=EVE)
    os.waitpid(child, 0)


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_the_database_has_the_mode_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        hub = Registry(tmp_path / "home")
        push(hub, 1)
    finally:
        os.umask(before)
    for part in ("registry.db", "registry.db-wal", "registry.db-shm"):
        assert stat.S_IMODE((hub.home / part).stat().st_mode) == mode


def test_a_home_becomes_the_teams_when_its_owner_opens_it_in_the_teams_folder(tmp_path: Path) -> None:
    push(Registry(tmp_path / "home"), 1)
    (tmp_path / "home").chmod(0o2775)
    Registry(tmp_path / "home").list()
    assert (tmp_path / "home" / "registry.db").stat().st_mode & stat.S_IWGRP


COLLECT = """
import sys
from datetime import timedelta
from registry import Registry
print(Registry(sys.argv[1]).gc(grace=timedelta(0)).files)
"""


def collected_elsewhere(home: Path) -> str:
    """Collect in other namespaces of processes and host names, as a container does, and return what went."""
    inside = ["unshare", "--pid", "--uts", "--fork", "--mount-proc", "sh", "-c", 'hostname container; exec "$0" "$@"']
    done = subprocess.run([*inside, sys.executable, "-c", COLLECT, home], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def can_unshare() -> bool:
    tried = ["unshare", "--pid", "--uts", "--fork", "--mount-proc", "true"]
    return shutil.which("unshare") is not None and subprocess.run(tried, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="this user may make no namespaces")
def test_a_push_is_running_to_a_container_too_and_a_killed_one_is_not(tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    source = tmp_path / "2.pth"
    torch.save(weights(2), source)
    child = os.fork()
    if child == 0:
        try:
            catalog: Any = hub.catalog
            catalog.holds = lambda *given: os.kill(os.getpid(), signal.SIGSTOP)  # its file is written
            hub.push(source, "net", from_="ddp")
        finally:
            os._exit(0)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    assert collected_elsewhere(hub.home) == "()"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    gone = collected_elsewhere(hub.home)
    assert "blobs/" in gone and "running/" in gone and not any((hub.home / "running").iterdir())
