"""Processes that push, read, move aliases, remove and collect at once, in one home."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from contents import is_empty
from homes import AT_ONCE, check_collected, check_weights, check_whole, push, weights

from registry import Registry
from registry.blobs import writer
from registry.blobs.backends.local import LocalStore
from registry.catalog.catalog import Catalog
from registry.errors import FormerName, NoRegistry, PurgedVersion, RegistryError, TrashedVersion

PUSHERS = 8
ROUNDS = int(os.environ.get("RACE_ROUNDS", "6"))


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


def test_everything_at_once_on_a_fresh_home(tmp_path: Path) -> None:
    """Creation and migration race, too; versions that somebody removes are purged at once, with no grace."""
    home = tmp_path / "home"
    deadline = time.monotonic() + 60

    def pushes(who: int) -> Callable[[], None]:
        def job() -> None:
            hub = Registry(home)
            for number in range(ROUNDS):
                push(hub, 100 * who + number, aliases=["last"])

        return job

    def until_all_are_pushed(act: Callable[[Registry], object]) -> Callable[[], None]:
        def job() -> None:
            hub = Registry(home)
            while len([e for e in hub.log("net") if e.verb == "push"] if not is_empty(hub) else []) < PUSHERS * ROUNDS:
                with contextlib.suppress(TrashedVersion, PurgedVersion, NoRegistry):
                    act(hub)
                assert time.monotonic() < deadline, "the pushes do not come to an end"

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
    hub = Registry(home)
    assert hub.get("net").version <= PUSHERS * ROUNDS
    pushed = [event for event in hub.log("net") if event.verb == "push"]
    assert len(pushed) == PUSHERS * ROUNDS and {event.digest for event in pushed} == {e.digest for e in pushed}
    assert len({event.digest for event in pushed}) == PUSHERS * ROUNDS
    check_whole(hub)
    check_collected(hub)


def test_renames_and_pushes_at_once_lose_no_version_and_make_no_second_model(tmp_path: Path) -> None:
    home = tmp_path / "home"
    names = ("net", "team/net", "prod/net")
    push(Registry(home), 0, aliases=["best"])

    def pushes(who: int) -> Callable[[], None]:
        def job() -> None:
            hub = Registry(home)
            for number in range(ROUNDS):
                while True:
                    with contextlib.suppress(FormerName):  # it was renamed meanwhile
                        entry = push(hub, 1 + 100 * who + number, name=hub.get("net").name, aliases=["last"])
                        break
                check_weights(hub, entry.ref, 1 + 100 * who + number)

        return job

    def renames() -> None:
        hub = Registry(home)
        for number in range(4 * ROUNDS):
            now = hub.get("net").name
            hub.rename(now, names[(names.index(now) + 1 + number % 2) % 3])

    side_by_side(*(pushes(who) for who in range(4)), renames)
    hub = Registry(home)
    name = hub.get("net").name
    assert [entry.ref for entry in hub.list()] == [f"{name}:v{4 * ROUNDS + 1 - n}" for n in range(4 * ROUNDS + 1)]
    assert len([event for event in hub.log("net") if event.verb == "rename"]) == 4 * ROUNDS
    assert hub.get("team/net:best").version == 1
    check_whole(hub)
    check_collected(hub)


def test_pushes_of_the_same_weights_at_once_make_one_version(tmp_path: Path) -> None:
    home = tmp_path / "home"
    side_by_side(*[lambda who=who: push(Registry(home), 5, aliases=[f"by-{who}"]) for who in range(PUSHERS)])
    hub = Registry(home)
    (entry,) = hub.list()
    assert entry.aliases == tuple(f"by-{who}" for who in range(PUSHERS))
    check_whole(hub)
    check_collected(hub)


@pytest.mark.parametrize("moment", ["located", "announced", "renamed", "written"])
def test_a_collection_at_the_worst_moment_takes_nothing_that_a_push_uses(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the name's versions are in the trash, so their tensors go while the push believes that it shares them."""
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    hub.rm("net:v1")
    passed, collected = threading.Event(), threading.Event()

    def meet() -> None:
        if not passed.is_set():
            passed.set()
            assert collected.wait(30)

    def collect() -> None:
        assert passed.wait(30)
        Registry(hub.address).gc(grace=AT_ONCE)
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
        monkeypatch.setattr(writer, "stamp_new", lambda *_: meet())
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


def test_an_orphan_that_is_pushed_while_it_is_collected(tmp_path: Path) -> None:
    """The collector has listed the orphan; then a push writes a file of that very name."""
    hub = Registry(tmp_path / "home")
    push(hub, 1)
    hub.rm("net:v1")
    for _ in range(10):
        side_by_side(
            lambda: Registry(hub.address).gc(grace=AT_ONCE),
            lambda: push(Registry(hub.address), 1),
            lambda: Registry(hub.address).gc(grace=AT_ONCE),
        )
        check_whole(hub)
        hub.rm("net:latest")


def test_what_is_pushed_while_a_collection_deletes_stays(tmp_path: Path) -> None:
    """It deletes after it let go of the catalog; then somebody commits files of the very names that it deletes."""
    hub = Registry(tmp_path / "home")
    for seed in (1, 2, 3):
        push(hub, seed)
    for version in (1, 2, 3):
        hub.rm(f"net:v{version}")

    def push_again(done: int, total: int) -> None:
        other = Registry(hub.address)
        if not other.list():
            for seed in (1, 2, 3):
                push(other, seed)

    collected = hub.gc(grace=AT_ONCE, progress=push_again)
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
