"""What several hosts do at once with one registry: ``python plays.py PLAY FOLDER``.

A process that has used a bucket may fork no other that does. So every play begins in a new process, which uses none
itself: what a host does, it does in a child.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # where it is run as a program

import failing_plays
from homes import AT_ONCE, check_weights, push, weights
from hosts import HOSTS, PUSHERS, ROUNDS, SECONDS, Hosts, Job, both, wait_for

from registry import Registry
from registry.errors import (
    AliasedVersion,
    ObjectsAfterFork,
    PurgedVersion,
    RegistryError,
    TrashedVersion,
)


def one_pushes_and_another_loads(hosts: Hosts) -> None:
    hosts.run(1, lambda hub: [push(hub, 1), push(hub, 2)])
    hosts.run(2, both(lambda hub: check_weights(hub, "net:v1", 1), lambda hub: check_weights(hub, "net:v2", 2)))
    hosts.run(2, lambda hub: push(hub, 3))
    hosts.run(1, lambda hub: check_weights(hub, "net:v3", 3))
    hosts.check()


def again(act: Job, is_over: Callable[[Registry], bool], until: float, pause: float) -> Job:
    """Return a job that does something to whatever version is there, until all is pushed that is to be.

    Another host may have removed the version since it was looked up, or pointed an alias to it.
    """

    def job(hub: Registry) -> None:
        while not is_over(hub):
            with contextlib.suppress(TrashedVersion, PurgedVersion, AliasedVersion):
                act(hub)
            assert time.monotonic() < until, "the pushes do not come to an end"
            time.sleep(pause)

    return job


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
        return again(
            act, lambda hub: len([e for e in hub.log() if e.verb == "push"]) >= 1 + HOSTS * ROUNDS, until, 0.01
        )

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


def eight_pushers_each(hosts: Hosts) -> None:
    """All push to one model, while others read, move its aliases, remove and collect on every host."""
    until = time.monotonic() + SECONDS
    rounds = max(1, ROUNDS // 2)
    hosts.run(0, lambda hub: push(hub, 0))

    def pushes(who: int) -> Job:
        def job(hub: Registry) -> None:
            for number in range(rounds):
                seed = 1 + who * rounds + number
                entry = push(hub, seed, aliases=[f"by-{who}"])
                check_weights(hub, entry.ref, seed)

        return job

    def meanwhile(act: Job) -> Job:
        return again(act, lambda hub: hub.get("net").version >= 1 + HOSTS * PUSHERS * rounds, until, 0.1)

    def reads(hub: Registry) -> None:
        for entry in hub.list(limit=3):
            check_weights(hub, entry.ref, int(entry.note.split()[1]))

    def moves(hub: Registry) -> None:
        for entry in hub.list(limit=3):
            hub.alias(entry.ref, "moving")
            hub.get("net:moving")

    def removes(hub: Registry) -> None:
        entries = [entry for entry in hub.list() if not entry.aliases]
        if len(entries) > 3:
            hub.rm(random.choice(entries[1:]).ref)

    jobs = [(host, pushes(host * PUSHERS + who)) for host in range(HOSTS) for who in range(PUSHERS)]
    others = [(host, meanwhile(act)) for host in range(HOSTS) for act in (reads, moves)]
    collectors = [(host, meanwhile(lambda hub: hub.gc(grace=AT_ONCE))) for host in (0, 1)]
    began = time.monotonic()
    hosts.side_by_side(*jobs, *others, *collectors, (2, meanwhile(removes)))

    def counts(hub: Registry) -> None:
        events = hub.log()
        told = {verb: len([event for event in events if event.verb == verb]) for verb in ("push", "alias", "rm", "gc")}
        assert told["push"] == hub.get("net").version == 1 + HOSTS * PUSHERS * rounds
        for who in range(HOSTS * PUSHERS):
            assert hub.get(f"net:by-{who}").note == f"seed {1 + who * rounds + rounds - 1}"
        print(f"{len(jobs)} pushers in {time.monotonic() - began:.0f} s: {told}", flush=True)

    hosts.run(3, counts)
    hosts.check()


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
        wait_for(hosts.folder, "collected")
        return add_version(self, *arguments, **options)  # type: ignore[arg-type]

    def arm() -> None:
        Catalog.add_version = waits  # type: ignore[method-assign,assignment]

    child = hosts.start(1, lambda hub: push(hub, 7), arm)
    wait_for(hosts.folder, "put")
    hosts.run(2, both(lambda hub: hub.gc(grace=AT_ONCE), _none_is_garbage))
    (hosts.folder / "collected").touch()
    assert os.waitpid(child, 0)[1] == 0
    hosts.run(2, lambda hub: check_weights(hub, "net", 7))
    hosts.check()


def _none_is_garbage(hub: Registry) -> None:
    assert not [name for name in hub.gc(dry_run=True).files if name.startswith("blobs/")]
    assert len(list(hub.store._objects.list())) == 2  # type: ignore[attr-defined]


if __name__ == "__main__":
    play = globals().get(sys.argv[1]) or getattr(failing_plays, sys.argv[1])
    play(Hosts(Path(sys.argv[2])))
