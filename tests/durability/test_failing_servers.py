"""A catalog on PostgreSQL while pushers are killed, and while the server itself is killed and comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from databases import OwnServer, Server, configure, own_server
from killing import killed_at_each_statement

from registry import Registry
from registry.catalog.catalog import Catalog
from registry.errors import DatabaseLost, DatabaseUnreachable


def push(hub: Registry, seed: int) -> str:
    weights = {"backbone": torch.arange(300.0), "head": torch.full((7,), float(seed))}
    return hub.push(weights, "net", metrics={"acc": seed}, aliases=["last"], tags={"task": "seg"}).ref


@pytest.mark.services
def test_a_push_killed_before_any_of_its_statements_is_there_or_not_and_the_next_one_works(
    postgres: Server, tmp_path: Path
) -> None:
    address = postgres.schema()
    home = configure(tmp_path / "home", address)
    push(Registry(home), 0)
    killed, before = 0, 1
    for at in killed_at_each_statement(lambda: push(Registry(home), os.getpid())):
        killed = at
        hub = Registry(home)
        numbers = [entry.version for entry in hub.list("net")]
        assert numbers == list(range(len(numbers), 0, -1)) and len(numbers) - before in (0, 1)
        assert hub.get("net:last").version == numbers[0]
        assert push(hub, -at) == f"net:v{len(numbers) + 1}"
        before = len(numbers) + 1
        hub.close()
    assert killed > 10
    report = Registry(home).audit()
    assert report.is_clean, report.faults
    postgres.drop(address)


@pytest.fixture
def failing() -> Iterator[OwnServer]:
    """A server of this test alone."""
    with own_server() as server:
        yield server


@pytest.mark.services
def test_while_the_server_is_gone_every_verb_says_so_and_then_goes_on(failing: OwnServer, tmp_path: Path) -> None:
    home = configure(tmp_path / "home", failing.schema())
    hub = Registry(home)
    push(hub, 1)
    failing.kill()
    for verb in (lambda: push(hub, 2), lambda: hub.list("net"), lambda: hub.alias("net:v1", "best"), hub.audit):
        with pytest.raises((DatabaseLost, DatabaseUnreachable)) as told:
            verb()
        assert "\n" not in str(told.value)
    failing.start()
    assert [entry.ref for entry in hub.list("net")] == ["net:v1"]
    assert push(hub, 2) == "net:v2" and hub.audit().is_clean


@pytest.mark.services
def test_pushers_whose_server_is_killed_again_and_again_lose_nothing_that_they_were_told_of(
    failing: OwnServer, tmp_path: Path
) -> None:
    home = configure(tmp_path / "home", failing.schema())
    push(Registry(home), 0)
    done = threading.Event()
    told: list[str] = ["net:v1"]

    def work(who: int) -> None:
        hub, count = Registry(home), 0
        while not done.is_set():
            with contextlib.suppress(DatabaseLost, DatabaseUnreachable):
                told.append(push(hub, who * 100_000 + count))
            count += 1

    threads = [threading.Thread(target=work, args=(who,)) for who in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        reached = len(told) + 4
        while len(told) < reached:
            done.wait(0.01)
        failing.kill()
        failing.start()
    done.set()
    for thread in threads:
        thread.join()
    hub = Registry(home)
    entries = hub.list("net")
    assert [entry.version for entry in entries] == list(range(len(entries), 0, -1))
    assert set(told) <= {entry.ref for entry in entries} and len(set(told)) == len(told)
    assert hub.audit().is_clean


@pytest.mark.services
def test_a_change_whose_host_is_stopped_gives_the_lock_back(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from registry.catalog import postgres as module

    monkeypatch.setattr(module, "_LOCK", module._LOCK.replace("600000", "300"))
    address = postgres.schema()
    Catalog(address).close()
    seen, held = os.pipe()
    child = os.fork()
    if child == 0:
        with Catalog(address).write_lock():
            os.write(held, b".")
            signal.pause()
    os.read(seen, 1)
    os.kill(child, signal.SIGSTOP)
    Catalog(address, actor="me").record_event("looked")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    postgres.drop(address)
