"""Clients in processes of their own that do everything to one server for minutes, and are killed at random.

Nothing may fail but what another client has just made impossible. At the end the home is looked at from inside.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count as counted
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.serving import Server, serving, told
from registry import Registry
from registry.catalog.entry import Entry
from registry.errors import (
    AliasedVersion,
    NoLiveVersion,
    NotInTrash,
    PurgedVersion,
    TrashedVersion,
    UnknownModel,
    UnknownVersion,
)

MODELS = ("net", "team/net", "team/other")
LOST = (AliasedVersion, NoLiveVersion, NotInTrash, PurgedVersion, TrashedVersion, UnknownModel, UnknownVersion)
"""What a client is told when another one was faster."""

_SECONDS_BETWEEN_KILLS = 2.0
_SECONDS_BETWEEN_COLLECTIONS = 5.0
_SECONDS_BETWEEN_SAMPLES = 1.0
_WARM_UP = 0.4
"""Share of the time in which each thread of the server comes to its connection, its cache and its arena."""
_ALLOWED_GROWTH = 12 << 20
"""Bytes of the server's memory, from the first half of the time after that to the second: it moves a little."""

Say = Callable[[str], None]


def run(folder: Path, *, minutes: float, clients: int, say: Say) -> list[str]:
    """Do it, and return what is not as it should be."""
    home = Registry(folder / "home")
    home.push(weights(0), MODELS[0], from_="single", metrics={"seed": 0})
    token = home.add_token("soak", role="admin").text
    with told(REGISTRY_TOKEN=token), serving(folder / "home") as server:
        clients_ = _Field(folder, server, clients)
        memory = _Memory(server)
        until = time.monotonic() + 60 * minutes
        draw = random.Random(minutes)
        next_kill = next_collection = next_sample = time.monotonic() + 1
        collections = kills = 0
        while (now := time.monotonic()) < until:
            if now >= next_kill:
                kills += clients_.replace_one(draw)
                next_kill = now + 2 * draw.random() * _SECONDS_BETWEEN_KILLS
            if now >= next_collection:
                home.gc(grace=timedelta(0))
                collections, next_collection = collections + 1, now + _SECONDS_BETWEEN_COLLECTIONS
            if now >= next_sample:
                if memory.sample():
                    say(f"after {memory.minutes} minutes: {memory.last}, load {os.getloadavg()[0]:.1f}")
                next_sample = now + _SECONDS_BETWEEN_SAMPLES
            time.sleep(0.05)
        clients_.end()
        memory.sample()
        died = server.process.poll()
    done = clients_.counts()
    say(f"{minutes:g} minutes, {clients} clients: {', '.join(f'{done[verb]} {verb}' for verb in sorted(done))}")
    say(f"{kills} clients killed, {collections} collections; server {memory}")
    faults = [*clients_.failures(), *_faults_of(home, clients_.pushed())]
    if died is not None:
        faults.append(f"the server ended with exit code {died}")
    log = (folder / "home.log").read_text()
    if "Traceback" in log:
        faults.append(f"the server failed: {log[log.index('Traceback') - 300 :][:3000]}")
    if memory.growth > _ALLOWED_GROWTH:
        faults.append(f"the server's memory grew by {memory.growth >> 20} MiB")
    say(f"{len(home.log())} events in the trail, {len(home.list())} versions alive")
    home.close()
    return faults


class _Field:
    """The clients that run, and what all of them have told. They are forked from a process that has imported all."""

    def __init__(self, folder: Path, server: Server, clients: int) -> None:
        self._folder = folder
        self._url = server.url
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._started = 0
        self._fates: list[str] = []
        self._running = [self._start() for _ in range(clients)]

    def replace_one(self, draw: random.Random) -> bool:
        """Kill one of those that have begun to work, and start another."""
        at_work = [number for number, process in enumerate(self._running) if self._has_begun(process.name)]
        if not at_work:
            return False
        number = draw.choice(at_work)
        process = self._running[number]
        if process.exitcode is not None:
            self._fates.append(f"client {process.name} ended by itself with exit code {process.exitcode}")
        process.kill()
        process.join()
        self._running[number] = self._start()
        return True

    def end(self) -> None:
        """Let all come to the end of what they do."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.join(120)
            if process.exitcode is None:
                process.kill()
                self._fates.append(f"client {process.name} did not end")
            elif process.exitcode and self._has_begun(process.name):  # or it could not listen yet
                self._fates.append(f"client {process.name} ended with exit code {process.exitcode}")

    def failures(self) -> Iterator[str]:
        """What no client may meet."""
        yield from self._fates
        for line in self._lines():
            if line[0] == "failed":
                yield " ".join(line[1:])

    def counts(self) -> Counter[str]:
        """How often each verb was done."""
        return Counter(line[0] for line in self._lines())

    def pushed(self) -> dict[str, int]:
        """Versions that the server confirmed, with what their weights follow from."""
        return {line[1]: int(line[2]) for line in self._lines() if line[0] == "push"}

    def _start(self) -> ForkServerProcess:
        self._started += 1
        variables = {
            "XDG_CACHE_HOME": str(self._folder / "caches" / str(self._started % 4)),  # some share one
            "REGISTRY_TOKEN": os.environ["REGISTRY_TOKEN"],
        }
        name = str(self._started)
        process = self._context.Process(
            name=name, target=work, args=(self._url, self._started, str(self._log(name)), variables)
        )
        process.start()
        return process

    def _log(self, name: str) -> Path:
        return self._folder / f"client-{name}.log"

    def _has_begun(self, name: str) -> bool:
        return self._log(name).exists() and self._log(name).stat().st_size > 0

    def _lines(self) -> Iterator[list[str]]:
        for log in sorted(self._folder.glob("client-*.log")):
            for line in log.read_text().splitlines(keepends=True):
                if line.endswith("\n"):  # a killed one may have left half of one
                    yield line.split()


def weights(seed: int) -> dict[str, torch.Tensor]:
    """Return what follows from a number: a part that many share, and one of its own, of some size."""
    draw = torch.Generator().manual_seed(seed)
    return {
        "backbone.weight": torch.full((50_000,), float(seed % 7)),
        "head.weight": torch.randn(1 << (8 + seed % 12), generator=draw),
        "head.seed": torch.tensor(seed),
    }


@dataclass
class _Client:
    hub: Registry
    log: Any
    draw: random.Random
    seeds: Iterator[int]
    ended: list[bool]

    def work(self) -> None:
        """Do one verb after another until told to end."""
        verbs = {self.push: 5, self.load: 6, self.alias: 2, self.remove: 2, self.restore: 1, self.look: 3}
        while not self.ended:
            (verb,) = self.draw.choices(list(verbs), list(verbs.values()))
            try:
                verb()
            except LOST:
                self.note("late")
            except Exception as error:
                self.note("failed", f"{verb.__name__}: {type(error).__name__}: {error}".replace("\n", " "))

    def note(self, *words: object) -> None:
        self.log.write(" ".join(map(str, words)) + "\n")
        self.log.flush()

    def push(self) -> None:
        seed = next(self.seeds)
        entry = self.hub.push(weights(seed), self.draw.choice(MODELS), from_="single", metrics={"seed": seed})
        self.note("push", entry.ref, seed)

    def load(self) -> None:
        entry = self.any()
        check(self.hub, entry)
        self.note("load")

    def alias(self) -> None:
        self.hub.alias(self.any(), f"alias-{self.draw.randrange(4)}")
        self.note("alias")

    def remove(self) -> None:
        self.hub.rm(self.any())
        self.note("rm")

    def restore(self) -> None:
        trashed = self.hub.list(self.draw.choice(MODELS), trashed=True, limit=5)
        if trashed:
            self.hub.restore(self.draw.choice(trashed).ref)
            self.note("restore")

    def look(self) -> None:
        self.hub.list(f"{self.draw.choice(MODELS)} sort:-seed", limit=20)
        self.hub.log(limit=10)
        self.hub.models()
        self.note("look")

    def any(self) -> Entry:
        """Return a version that was there just now."""
        found = self.hub.list(self.draw.choice(MODELS), limit=30)
        if not found:
            raise NoLiveVersion(MODELS[0])
        return self.draw.choice(found)


def work(url: str, number: int, log: str, variables: dict[str, str]) -> None:
    """Be one client, in a process of its own."""
    os.environ.update(variables)
    torch.set_num_threads(1)
    ended: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    with Path(log).open("a") as lines:
        _Client(Registry(url), lines, random.Random(number), counted(number * 1_000_000), ended).work()


def check(hub: Registry, entry: Entry) -> None:
    """Compare a version's weights with those that belong to it.

    Raises:
        AssertionError
    """
    stored, wanted = hub.state_dict(entry), weights(int(entry.metrics["seed"]))
    if stored.keys() != wanted.keys() or not all(torch.equal(stored[name], wanted[name]) for name in wanted):
        raise AssertionError(f"{entry.ref} has other weights than were pushed")


def _faults_of(home: Registry, pushed: dict[str, int]) -> Iterator[str]:
    """Look at the home when all is over: numbers, the trail, and every byte."""
    new: dict[str, list[str]] = {}
    for event in reversed(home.log(verb="push")):
        if "reused" not in event.details:
            new.setdefault(str(event.name), []).append(str(event.reference))
    for name, refs in new.items():
        wanted = [f"{name}:v{number}" for number in range(1, len(refs) + 1)]
        if refs != wanted:
            wrong = next((found, ought) for found, ought in zip(refs, wanted, strict=True) if found != ought)
            yield f"{name} has {wrong[0]} where {wrong[1]} should be"
    known = {ref for refs in new.values() for ref in refs}
    for ref in pushed.keys() - known:
        yield f"{ref} was confirmed, and the trail does not have it"
    report = home.audit()
    if not report.is_clean:
        yield f"the audit found {report.faults}"
    for entry in home.list():
        if pushed.get(entry.ref, entry.metrics["seed"]) != entry.metrics["seed"]:
            yield f"{entry.ref} is not what was pushed as it"
        check(home, entry)


class _Memory:
    """The server's own memory over time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = time.monotonic()
        self._samples: list[int] = []
        self.minutes = 0

    def sample(self) -> bool:
        """Look at it, and return whether another minute is over."""
        self._samples.append(self._server.anonymous_bytes)
        before, self.minutes = self.minutes, int((time.monotonic() - self._began) / 60)
        return self.minutes > before

    @property
    def last(self) -> str:
        """What it was just now."""
        return f"{self._samples[-1] >> 20} MiB of memory in {self._server.threads} threads"

    @property
    def growth(self) -> int:
        """Bytes, from the first half of the time after the warm-up to the second."""
        warm = self._samples[round(_WARM_UP * len(self._samples)) :]
        half = max(1, len(warm) // 2)
        return round(mean(warm[-half:]) - mean(warm[:half]))

    def __str__(self) -> str:
        first, last, most = (each >> 20 for each in (self._samples[0], self._samples[-1], max(self._samples)))
        grown = f"{self.growth / 2**20:+.1f} after the warm-up"
        return f"memory {first} MiB at first, {last} at the end, {most} at most, {grown}"
