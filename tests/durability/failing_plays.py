"""What several hosts go through when a process is killed, or a server is gone; ``plays`` runs it, as its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from databases import own_server
from homes import check_weights, check_whole, push
from hosts import SECONDS, STRIDE, Hosts, Job, both, wait_for
from stepping import arm_calls, arm_requests, at_each_request

from registry import Registry
from registry.errors import (
    DatabaseLost,
    DatabaseUnreachable,
    ObjectsUnreachable,
)


def killed_at_every_step(hosts: Hosts) -> None:
    """Each time other weights: what was killed is there or not, and the same push on another host makes it so."""
    kills, step, seed = 0, 1, 0
    while True:
        seed += 1

        def pushes(hub: Registry, seed: int = seed) -> None:
            push(hub, seed, force_new=True)

        def arm(step: int = step) -> None:
            (arm_requests if hosts.shared.exists() else arm_calls)(step)

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


def the_database_is_killed_at_every_step(hosts: Hosts) -> None:
    """With all its sessions, at a request of a push; once it runs again, the push was made or not, and can be made."""
    kills, step = 0, 1
    with own_server() as server:
        said = hosts.shared.read_text().splitlines()
        address = f'catalog = "{server.schema().url}"'
        hosts.shared.write_text("\n".join([address, *(line for line in said if not line.startswith("catalog"))]))
        hosts.run(0, lambda hub: push(hub, 0))
        while True:

            def pushes(hub: Registry, seed: int = step) -> None:
                try:
                    push(hub, seed, aliases=["best"])
                except (DatabaseLost, DatabaseUnreachable) as error:
                    assert "\n" not in str(error)

            def arm(step: int = step) -> None:
                at_each_request(step, server.kill)

            assert os.waitpid(hosts.start(1, pushes, arm), 0)[1] == 0
            if server.is_running:
                break
            kills += 1
            server.start()

            def check(hub: Registry, seed: int = step) -> None:
                check_whole(hub)
                push(hub, seed, aliases=["best"])
                assert hub.get("net:best").note == hub.get("net").note == f"seed {seed}"
                check_weights(hub, "net:best", seed)

            hosts.run(2, check)
            step += STRIDE
        assert kills * STRIDE > 20, kills
        print(f"{kills} kills of the database survived")
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


def a_server_goes_away(hosts: Hosts) -> None:
    """Whoever runs this stops the bucket or the database when ``down`` is there, and starts it before ``up`` is."""
    hosts.run(0, lambda hub: push(hub, 0))
    until = time.monotonic() + SECONDS

    def pushes(who: int) -> Job:
        def job(hub: Registry) -> None:
            refused, number = 0, 0
            while not (hosts.folder / "up").exists() or number < 3:
                try:
                    push(hub, 10 * who + number, name=f"net-{who}")
                    number += 1
                    if number == 1:
                        check_weights(hub, f"net-{who}:v1", 10 * who)
                        (hosts.folder / f"pushed-{who}").touch()
                except (ObjectsUnreachable, DatabaseLost, DatabaseUnreachable) as error:
                    assert "\n" not in str(error)
                    assert any(word in str(error) for word in ("cannot reach the objects in s3://", "the catalog at"))
                    refused += 1
                    if refused == 2:
                        (hosts.folder / f"refused-{who}").touch()
                    time.sleep(0.2)
                assert time.monotonic() < until
            assert refused

        return job

    children = [hosts.start(who, pushes(who)) for who in (1, 2)]
    wait_for(hosts.folder, "pushed-1", "pushed-2")
    (hosts.folder / "down").touch()
    wait_for(hosts.folder, "refused-1", "refused-2")
    if not (hosts.folder / "no-catalog").exists():
        hosts.run(1, lambda hub: check_weights(hub, "net-1:v1", 10))  # what is in its cache
    (hosts.folder / "go-on").touch()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    hosts.check()
