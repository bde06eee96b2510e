"""Hosts that share one catalog and one bucket, each with a cache of its own: ``python hosts.py PLAY FOLDER``.

A process that has used a bucket may fork no other that does. So every play begins in a new process, which uses none
itself: what a host does, it does in a child.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from homes import AT_ONCE, check_weights, check_whole, push, weights
from stepping import arm_calls

from registry import Registry
from registry.errors import (
    ObjectsAfterFork,
    ObjectsUnreachable,
    PurgedVersion,
    RegistryError,
    TrashedVersion,
)

HOSTS = 4
ROUNDS = int(os.environ.get("RACE_ROUNDS", "4"))
STRIDE = int(os.environ.get("KILL_STRIDE", "6"))
SECONDS = 240.0

Job = Callable[[Registry], object]


def both(first: Job, second: Job) -> Job:
    """Return a job that does one thing and then another."""

    def job(hub: Registry) -> None:
        first(hub)
        second(hub)

    return job


class Hosts:
    """Where they all look, and what each has for itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"

    def start(self, host: int | str, job: Job, arm: Callable[[], None] = lambda: None) -> int:
        """Begin a job on a host, and return its process."""
        child = os.fork()
        if child:
            return child
        try:
            os.environ["HOME"] = str(self.folder / f"host-{host}")
            hub = Registry(self.home)
            hub._home.make()
            hub.store._young_seconds = 0.0  # type: ignore[attr-defined]
            leases = hub.store._cache.leases  # type: ignore[attr-defined]
            leases._seconds, leases._renewal = 12, 1.0  # as for the days of a user, too long for a test
            arm()
            job(hub)
            hub.close()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def run(self, host: int | str, job: Job) -> None:
        assert os.waitpid(self.start(host, job), 0)[1] == 0

    def side_by_side(self, *jobs: tuple[int | str, Job]) -> None:
        children = [self.start(host, job) for host, job in jobs]
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(jobs)

    def check(self) -> None:
        """All is whole, for a host that has nothing in its cache; and nothing is in the bucket that nobody needs."""
        shutil.rmtree(self.folder / "host-empty", ignore_errors=True)
        self.run("empty", check_whole)
        self.run("empty", _check_collected)


def _check_collected(hub: Registry) -> None:
    until = time.monotonic() + SECONDS
    while hub.gc(grace=AT_ONCE).files or hub.catalog.leases.held().ids:
        assert time.monotonic() < until, hub.catalog.leases.held()
        time.sleep(0.5)
    there = {found.digest for found in hub.store._objects.list()}  # type: ignore[attr-defined]
    assert there == hub.catalog.referenced_blobs() == set(hub.catalog.known_blobs())


# The plays


def one_pushes_and_another_loads(hosts: Hosts) -> None:
    hosts.run(1, lambda hub: [push(hub, 1), push(hub, 2)])
    hosts.run(2, both(lambda hub: check_weights(hub, "net:v1", 1), lambda hub: check_weights(hub, "net:v2", 2)))
    hosts.run(2, lambda hub: push(hub, 3))
    hosts.run(1, lambda hub: check_weights(hub, "net:v3", 3))
    hosts.check()


def everything_at_once(hosts: Hosts) -> None:
    """Weights of few seeds, so that pushes find, write and commit what a collection has just marked or deleted."""
    hosts.run(0, lambda hub: push(hub, 0))
    until = time.monotonic() + SECONDS

    def pushes(who: int) -> Job:
        def job(hub: Registry) -> None:
            for number in range(ROUNDS):
                entry = push(hub, number % 3, name=f"net-{who}", aliases=["last"])
                with contextlib.suppress(TrashedVersion, PurgedVersion):
                    check_weights(hub, entry.ref, number % 3)

        return job

    def until_all_are_pushed(act: Job) -> Job:
        def job(hub: Registry) -> None:
            while len([e for e in hub.log() if e.verb == "push"]) < 1 + HOSTS * ROUNDS:
                with contextlib.suppress(TrashedVersion, PurgedVersion):
                    act(hub)
                assert time.monotonic() < until, "the pushes do not come to an end"
                time.sleep(0.01)

        return job

    def reads(hub: Registry) -> None:
        for entry in hub.list(limit=4):
            check_weights(hub, entry.ref, int(entry.note.split()[1]))

    def removes(hub: Registry) -> None:
        entry = random.choice(hub.list())
        if entry.name != "net" and not entry.aliases:
            hub.rm(entry.ref)

    jobs = [
        *((host, pushes(host)) for host in range(HOSTS)),
        (1, until_all_are_pushed(reads)),
        (2, until_all_are_pushed(removes)),
        (3, until_all_are_pushed(lambda hub: hub.gc(grace=AT_ONCE))),
        (0, until_all_are_pushed(lambda hub: hub.gc(grace=AT_ONCE))),
    ]
    hosts.side_by_side(*jobs)
    hosts.check()


def killed_at_every_step(hosts: Hosts) -> None:
    """Each time other weights: what was killed is there or not, and the same push on another host makes it so."""
    kills, step, seed = 0, 1, 0
    while True:
        seed += 1

        def pushes(hub: Registry, seed: int = seed) -> None:
            push(hub, seed, force_new=True)

        def arm(step: int = step) -> None:
            arm_calls(step)

        status = os.waitpid(hosts.start("killed", pushes, arm), 0)[1]
        if status == 0:
            break
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        kills += 1

        def check(hub: Registry, seed: int = seed) -> None:
            check_whole(hub)
            push(hub, seed)
            newest = hub.get("net")
            assert newest.note == f"seed {seed}"
            check_weights(hub, newest.ref, seed)

        hosts.run(f"other-{step % 2}", check)
        step += STRIDE
    assert kills * STRIDE > 20, kills
    print(f"{kills} kills survived")
    hosts.check()


def put_and_killed(hosts: Hosts) -> None:
    """Killed when the object was put and the version is not committed: before and after the bucket has answered."""
    from registry.blobs.backends.objects import BucketBackend

    put = BucketBackend.put

    def dies_before(self: BucketBackend, digest: str, path: Path) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dies_after(self: BucketBackend, digest: str, path: Path) -> None:
        put(self, digest, path)
        os.kill(os.getpid(), signal.SIGKILL)

    hosts.run(0, lambda hub: push(hub, 1))
    for seed, dies in ((2, dies_before), (3, dies_after)):

        def arm(dies: Callable[..., None] = dies) -> None:
            BucketBackend.put = dies  # type: ignore[method-assign]

        status = os.waitpid(hosts.start(1, partial(push, seed=seed), arm), 0)[1]
        assert os.WIFSIGNALED(status)
        hosts.run(2, both(partial(_lacks, seed=seed), partial(push, seed=seed)))
        hosts.run(3, partial(check_weights, ref="net", seed=seed))
    hosts.check()


def _lacks(hub: Registry, seed: int) -> None:
    assert f"seed {seed}" not in {entry.note for entry in hub.list()}
    assert hub.audit().is_clean


def the_bucket_goes_away(hosts: Hosts) -> None:
    """Whoever runs this stops the server when ``down`` is asked for, and starts it when ``up`` is."""
    hosts.run(0, lambda hub: push(hub, 0))
    until = time.monotonic() + SECONDS

    def pushes(who: int) -> Job:
        def job(hub: Registry) -> None:
            refused, number = 0, 0
            while not (hosts.folder / "up").exists() or number < 3:
                try:
                    push(hub, 10 * who + number, name=f"net-{who}")
                    number += 1
                except ObjectsUnreachable as error:
                    assert "\n" not in str(error) and "cannot reach the objects in s3://" in str(error)
                    refused += 1
                    if refused == 2:
                        (hosts.folder / f"refused-{who}").touch()
                if number == 1 and not refused:
                    check_weights(hub, f"net-{who}:v1", 10 * who)
                    (hosts.folder / f"pushed-{who}").touch()
                assert time.monotonic() < until
            assert refused

        return job

    children = [hosts.start(who, pushes(who)) for who in (1, 2)]
    _wait_for(hosts.folder, "pushed-1", "pushed-2")
    (hosts.folder / "down").touch()
    _wait_for(hosts.folder, "refused-1", "refused-2")
    hosts.run(1, lambda hub: check_weights(hub, "net-1:v1", 10))  # what is in its cache
    (hosts.folder / "go-on").touch()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    hosts.check()


def _wait_for(folder: Path, *names: str) -> None:
    until = time.monotonic() + SECONDS
    while not all((folder / name).exists() for name in names):
        assert time.monotonic() < until, f"there is no {names}"
        time.sleep(0.1)


def workers_of_a_data_loader(hosts: Hosts) -> None:
    """Workers are forked from a process that has used the bucket: they map what is cached, and are told of the rest."""

    class Rows(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self, hub: Registry, refs: list[str]) -> None:
            self.hub, self.refs = hub, refs

        def __len__(self) -> int:
            return len(self.refs)

        def __getitem__(self, index: int) -> torch.Tensor:
            try:
                return self.hub.state_dict(self.refs[index])["head.weight"].clone()
            except ObjectsAfterFork as error:
                assert "multiprocessing_context='spawn'" in str(error)
                return torch.zeros(4, 8)

    def loads(hub: Registry) -> None:
        push(hub, 1)
        push(hub, 2)
        shutil.rmtree(Path(os.environ["HOME"]) / "cache")
        check_weights(hub, "net:v1", 1)
        loader = torch.utils.data.DataLoader(
            Rows(hub, ["net:v1", "net:v2"]), batch_size=1, num_workers=2, multiprocessing_context="fork"
        )
        first, second = (batch[0] for batch in loader)
        assert torch.equal(first, weights(1)["module.head.weight"])
        assert not second.any(), "what is not cached is refused, and hangs nobody"
        check_weights(hub, "net:v2", 2)

    hosts.run(1, loads)


def repaired(hosts: Hosts) -> None:
    """What rots in the bucket is found by a host that has nothing cached, restored by one that has it, or put aside."""

    def damage(hub: Registry) -> None:
        objects = hub.store._objects  # type: ignore[attr-defined]
        for ref in ("net:v1", "net:v2"):
            blob = hub.catalog.manifest_and_documents(hub.get(ref))[0].tensors["head.weight"].location.blob
            content = bytearray(objects.ranges(blob, [(0, objects.stat(blob).nbytes)])[0])
            content[-1] ^= 1
            (hub.home / "rotten").write_bytes(content)
            objects.put(blob, hub.home / "rotten")

    def finds(hub: Registry) -> None:
        report = hub.audit()
        assert {fault.ref for fault in report.faults} >= {"net:v1", "net:v2"}
        assert not list(Path(os.environ["HOME"]).rglob("*.safetensors")), "an audit caches nothing"
        try:
            hub.state_dict("net:v2")
            raise AssertionError("it was loaded")
        except RegistryError as error:
            assert "does not hold what its name says" in str(error)

    def repairs(hub: Registry) -> None:
        report = hub.audit(repair=True)
        assert report.is_clean, report.faults

    hosts.run(1, lambda hub: [push(hub, 1), push(hub, 2)])
    hosts.run(3, damage)
    hosts.run(2, finds)
    hosts.run(1, repairs)
    hosts.run(4, both(lambda hub: check_weights(hub, "net:v1", 1), lambda hub: check_weights(hub, "net:v2", 2)))
    hosts.run(4, _has_quarantine)


def _has_quarantine(hub: Registry) -> None:
    import obstore

    client = hub.store._objects._client()  # type: ignore[attr-defined]
    pages = obstore.list(client, "quarantine")
    assert len([found for page in pages for found in page]) == 2


def a_lease_outlives_no_push(hosts: Hosts) -> None:
    """While a push of one host has put and not committed, a collection of another takes nothing of it."""
    from registry.catalog.catalog import Catalog

    hosts.run(0, lambda hub: push(hub, 0))
    add_version = Catalog.add_version

    def waits(self: Catalog, *arguments: object, **options: object) -> object:
        (hosts.folder / "put").touch()
        _wait_for(hosts.folder, "collected")
        return add_version(self, *arguments, **options)  # type: ignore[arg-type]

    def arm() -> None:
        Catalog.add_version = waits  # type: ignore[method-assign,assignment]

    child = hosts.start(1, lambda hub: push(hub, 7), arm)
    _wait_for(hosts.folder, "put")
    hosts.run(2, both(lambda hub: hub.gc(grace=AT_ONCE), _none_is_garbage))
    (hosts.folder / "collected").touch()
    assert os.waitpid(child, 0)[1] == 0
    hosts.run(2, lambda hub: check_weights(hub, "net", 7))
    hosts.check()


def _none_is_garbage(hub: Registry) -> None:
    assert not [name for name in hub.gc(dry_run=True).files if name.startswith("blobs/")]
    assert len(list(hub.store._objects.list())) == 2  # type: ignore[attr-defined]


if __name__ == "__main__":
    globals()[sys.argv[1]](Hosts(Path(sys.argv[2])))
