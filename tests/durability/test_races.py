"""Processes that push, read, move aliases, remove and collect at once, in one home."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from contents import is_empty
from grounds import Ground
from homes import AT_ONCE, check_collected, check_weights, check_whole, push, weights

from registry import Registry
from registry.blobs import new_blob
from registry.blobs.backends.local import LocalStore
from registry.catalog.catalog import Catalog
from registry.errors import FormerName, NoRegistry, PurgedVersion, RegistryError, TrashedVersion

PUSHERS = 8
ROUNDS = int(os.environ.get("RACE_ROUNDS", "6"))


@pytest.fixture
def home(ground: Ground, tmp_path: Path) -> Path:
    return ground.home(tmp_path / "home", is_migrated=False)


@pytest.fixture
def hub(ground: Ground, home: Path) -> Registry:
    """A registry that this process uses itself, and so none that it forks."""
    return ground.open(home)


def check(ground: Ground, home: Path) -> None:
    hub = ground.open(home)
    check_whole(hub)
    check_collected(hub)


def side_by_side(*jobs: Callable[[], object]) -> None:
    """Run each job in a process of its own, all at once; none may fail."""
    start = os.pipe()
    children = []
    for job in jobs:
        child = os.fork()
        if child == 0:
            try:
                os.close(start[1])
                os.read(start[0], 1)
                job()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    os.close(start[0])
    os.close(start[1])
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * len(children)


@pytest.mark.forks
def test_everything_at_once_on_a_fresh_home(ground: Ground, home: Path) -> None:
    """Creation and migration race, too; versions that somebody removes are purged at once, with no grace."""
    rounds, deadline = (2, time.monotonic() + 300) if ground.is_elsewhere else (ROUNDS, time.monotonic() + 60)

    def pushes(who: int) -> Callable[[], None]:
        def job() -> None:
            hub = ground.open(home)
            for number in range(rounds):
                push(hub, 100 * who + number, aliases=["last"])

        return job

    def until_all_are_pushed(act: Callable[[Registry], object]) -> Callable[[], None]:
        def job() -> None:
            hub = ground.open(home) if ground.is_elsewhere else Registry(home)
            while len([e for e in hub.log("net") if e.verb == "push"] if not is_empty(hub) else []) < PUSHERS * rounds:
                with contextlib.suppress(TrashedVersion, PurgedVersion, NoRegistry):
                    act(hub)
                assert time.monotonic() < deadline, "the pushes do not come to an end"
                time.sleep(0.05 if ground.is_elsewhere else 0)

        return job

    def read(hub: Registry) -> None:
        for entry in hub.list(limit=5):
            try:
                check_weights(hub, entry.ref, int(entry.note.split()[1]))
            except RegistryError:
                hub.get(entry.ref)  # raises, if it was removed meanwhile
                raise

    def move_alias(hub: Registry) -> None:
        for entry in hub.list(limit=3):
            hub.alias(entry.ref, "moving")
            hub.get("net:moving")

    def remove(hub: Registry) -> None:
        entries = hub.list()
        if len(entries) > 6:
            hub.rm(entries[len(entries) // 2].ref, force=True)

    def audit(hub: Registry) -> None:
        report = hub.audit()
        assert report.is_clean, report.faults

    side_by_side(
        *(pushes(who) for who in range(PUSHERS)),
        *(until_all_are_pushed(act) for act in (read, move_alias, remove, audit)),
        *[until_all_are_pushed(lambda hub: hub.gc(grace=AT_ONCE))] * 2,
    )

    def check_all() -> None:
        hub = ground.open(home)
        assert hub.get("net").version <= PUSHERS * rounds
        pushed = [event for event in hub.log("net") if event.verb == "push"]
        assert len(pushed) == PUSHERS * rounds
        assert len({event.digest for event in pushed}) == PUSHERS * rounds
        check(ground, home)

    ground.apart(check_all)


@pytest.mark.forks
def test_renames_and_pushes_at_once_lose_no_version_and_make_no_second_model(ground: Ground, home: Path) -> None:
    names = ("net", "team/net", "prod/net")
    ground.apart(lambda: push(ground.open(home), 0, aliases=["best"]))

    def pushes(who: int) -> Callable[[], None]:
        def job() -> None:
            hub = ground.open(home)
            for number in range(ROUNDS):
                while True:
                    with contextlib.suppress(FormerName):  # it was renamed meanwhile
                        entry = push(hub, 1 + 100 * who + number, name=hub.get("net").name, aliases=["last"])
                        break
                check_weights(hub, entry.ref, 1 + 100 * who + number)

        return job

    def renames() -> None:
        hub = ground.open(home)
        for number in range(4 * ROUNDS):
            now = hub.get("net").name
            hub.rename(now, names[(names.index(now) + 1 + number % 2) % 3])

    side_by_side(*(pushes(who) for who in range(4)), renames)

    def check_all() -> None:
        hub = ground.open(home)
        name = hub.get("net").name
        assert [entry.ref for entry in hub.list()] == [f"{name}:v{4 * ROUNDS + 1 - n}" for n in range(4 * ROUNDS + 1)]
        assert len([event for event in hub.log("net") if event.verb == "rename"]) == 4 * ROUNDS
        assert hub.get("team/net:best").version == 1
        check(ground, home)

    ground.apart(check_all)


@pytest.mark.forks
def test_pushes_of_the_same_weights_at_once_make_one_version(ground: Ground, home: Path) -> None:
    side_by_side(*[lambda who=who: push(ground.open(home), 5, aliases=[f"by-{who}"]) for who in range(PUSHERS)])

    def check_all() -> None:
        (entry,) = ground.open(home).list()
        assert entry.aliases == tuple(f"by-{who}" for who in range(PUSHERS))
        check(ground, home)

    ground.apart(check_all)


@pytest.mark.parametrize("moment", ["located", "announced", "renamed", "written"])
def test_a_collection_at_the_worst_moment_takes_nothing_that_a_push_uses(
    ground: Ground, hub: Registry, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the name's versions are in the trash, so their tensors go while the push believes that it shares them."""
    push(hub, 1)
    hub.rm("net:v1")
    passed, collected = threading.Event(), threading.Event()

    def meet() -> None:
        if not passed.is_set():
            passed.set()
            assert collected.wait(30)

    def collect() -> None:
        assert passed.wait(30)
        ground.open(hub.home).gc(grace=AT_ONCE)
        collected.set()

    if moment == "located":
        locate = type(hub.catalog).locate

        def look_then_meet(*arguments: Any) -> Any:
            found = locate(*arguments)
            meet()
            return found

        monkeypatch.setattr(type(hub.catalog), "locate", look_then_meet)
    elif moment == "announced":
        monkeypatch.setattr(os, "fsync", lambda handle: meet())
    elif moment == "renamed":
        monkeypatch.setattr(new_blob, "stamp_new", lambda *_: meet())
    else:
        add = type(hub.catalog).add_version

        def meet_then_add(*arguments: Any, **options: Any) -> Any:
            meet()
            return add(*arguments, **options)

        monkeypatch.setattr(type(hub.catalog), "add_version", meet_then_add)
    thread = threading.Thread(target=collect)
    thread.start()
    entry = push(hub, 2)
    thread.join()
    check_weights(hub, entry.ref, 2)
    check_whole(hub)
    check_collected(hub)


def test_a_load_that_a_collection_overtakes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    ordinary = LocalStore.open

    def overtaken(self: LocalStore, *arguments: Any, **options: Any) -> Any:
        other = Registry(hub.address)
        other.rm("net:v1")
        other.gc(grace=AT_ONCE)
        return ordinary(self, *arguments, **options)

    monkeypatch.setattr(LocalStore, "open", overtaken)
    with pytest.raises(PurgedVersion):
        hub.state_dict("net:v1")


@pytest.mark.forks
def test_an_orphan_that_is_pushed_while_it_is_collected(ground: Ground, home: Path) -> None:
    """The collector has listed the orphan; then a push writes a file of that very name."""

    def check_and_remove() -> None:
        hub = ground.open(home)
        check_whole(hub)
        hub.rm("net:latest")

    ground.apart(lambda: push(ground.open(home), 1))
    for _ in range(10):
        ground.apart(check_and_remove)
        side_by_side(
            lambda: ground.open(home).gc(grace=AT_ONCE),
            lambda: push(ground.open(home), 1),
            lambda: ground.open(home).gc(grace=AT_ONCE),
        )
    ground.apart(check_and_remove)


def test_what_is_pushed_while_a_collection_deletes_stays(ground: Ground, hub: Registry) -> None:
    """It deletes after it let go of the catalog; then somebody commits files of the very names that it deletes."""
    for seed in (1, 2, 3):
        push(hub, seed)
    for version in (1, 2, 3):
        hub.rm(f"net:v{version}")

    def push_again() -> None:
        other = ground.open(hub.home)
        for seed in (1, 2, 3):
            push(other, seed)
        other.close()

    pushing = threading.Thread(target=push_again)

    def begin(done: int, total: int) -> None:
        if pushing.ident is None:
            pushing.start()
            if not ground.is_elsewhere:  # where a put waits until the object of its name is deleted
                pushing.join()

    collected = hub.gc(grace=AT_ONCE, progress=begin)
    pushing.join()
    assert len([name for name in collected.files if name.startswith("blobs/")]) == 3
    assert [entry.ref for entry in hub.list()] == ["net:v6", "net:v5", "net:v4"]
    check_whole(hub)
    check_collected(hub)


def test_the_first_record_of_a_push_is_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it has its name, nothing says that its temporary file belongs to a living push."""
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    rename = Path.rename

    def collected_before(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        assert hub.gc().files
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", collected_before)
    assert push(hub, 2).ref == "net:v2"
    check_whole(hub)


def test_a_running_push_of_another_process_protects_what_it_writes(tmp_path: Path) -> None:
    """And a killed one does not, even before its parent has waited for it."""
    hub = Registry(tmp_path / "home")
    Catalog(hub.home).close()
    store = LocalStore(hub.home)
    inside, leave = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(leave[1])  # so that it ends with its parent, should that fail before it kills it
            with store.transfer() as transfer:
                from registry.inspection import Question, examine

                transfer.write(examine(weights(3), Question("ddp")).tensors, locate=lambda digests: {})
                os.write(inside[1], b".")
                os.read(leave[0], 1)
        finally:
            os._exit(0)  # never on to the tests that follow
    os.read(inside[0], 1)
    assert hub.gc(grace=timedelta(0)).files == ()
    assert len(list(hub.home.glob("blobs/*/*"))) == 1
    os.kill(child, 9)
    while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.001)
    assert len(hub.gc(grace=timedelta(0)).files) == 3
    os.waitpid(child, 0)
    assert store.garbage(lambda: ()) == ()


@pytest.mark.parametrize("writes", [True, False])
def test_a_child_of_a_process_whose_other_thread_is_in_a_transaction_changes_the_catalog(
    tmp_path: Path, writes: bool
) -> None:
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    is_in, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with hub.catalog.write_lock() if writes else hub.catalog._database.snapshot():
            hub.catalog.names()
            is_in.set()
            time.sleep(0.3)
            ended.set()

    thread = threading.Thread(target=hold)
    thread.start()
    is_in.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            os._exit(0 if ended.is_set() and push(hub, 2).version == 2 else 1)
        finally:
            os._exit(2)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert push(hub, 3).version == 3
    check_whole(hub)


def test_a_thread_that_is_in_a_transaction_may_fork(tmp_path: Path) -> None:
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    with hub.catalog.write_lock():
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert push(hub, 2).version == 2
