"""Processes that serve many tests as the ranks of their jobs, so that torch is imported once in each.

A test takes the fixture ``ranks`` and says what every rank does:

    def rows(rank: int, ref: str) -> int:
        return len(registry.load(ref, fsdp=True).head.weight.to_local())

    def test_each_rank_holds_its_rows(ranks: Ranks, hub: registry.Registry) -> None:
        assert ranks.run(rows, "net:v1") == [2, 1]

They are real ranks: spawned, with a gloo group that is made for the job over a file of its own and ended after it. Each
job begins with the environment, the working folder and the module paths of the test, and with the random numbers of a
new process. What is run, given and returned has to pickle, so work is a function of a module.

Where a rank raises, dies or hangs, that test fails with what the rank said, and the next one gets new processes.
Tests about dying, signals and how a process begins or ends start processes of their own.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds that a job may take on a busy machine; one that takes longer hangs."""

Work = Callable[..., Any]


class RankFailed(AssertionError):
    """What ranks raised, or that they died or hung."""


@dataclass(frozen=True)
class Job:
    """What every rank is told to do."""

    work: Work
    arguments: tuple[Any, ...]
    world: int
    store: str


@dataclass(frozen=True)
class Place:
    """What a process has of the one that started it, at the moment when it starts."""

    environment: dict[str, str]
    folder: str
    paths: list[str]

    @classmethod
    def here(cls) -> Place:
        return cls({**os.environ}, str(Path.cwd()), list(sys.path))

    def enter(self) -> None:
        for name in os.environ.keys() - self.environment.keys():
            del os.environ[name]
        os.environ.update(self.environment)
        os.chdir(self.folder)
        sys.path[:] = self.paths


class Ranks:
    """As many processes as the largest job so far had ranks."""

    def __init__(self) -> None:
        self._processes: list[tuple[BaseProcess, connection.Connection]] = []

    def run(self, work: Work, *arguments: Any, world: int = 2, seconds: float = PATIENCE) -> list[Any]:
        """Call ``work(rank, *arguments)`` on every rank of a job, and return what they returned, by rank.

        Raises:
            RankFailed: a rank raised, died, or was not done in time.
        """
        while len(self._processes) < world:
            self._processes.append(_started(len(self._processes)))
        with tempfile.TemporaryDirectory() as folder:
            place, job = Place.here(), Job(work, arguments, world, f"{folder}/store")
            try:
                for _, pipe in self._processes[:world]:
                    pipe.send(place)
                    pipe.send(job)
                return self._answers(world, time.monotonic() + seconds)
            except BaseException:
                self.close()  # the others may wait in a collective for one that will not come
                raise

    def close(self) -> None:
        """End all processes, whatever they do."""
        for process, pipe in self._processes:
            process.kill()
            process.join()
            pipe.close()
        self._processes.clear()

    def _answers(self, world: int, end: float) -> list[Any]:
        waiting = {pipe: rank for rank, (_, pipe) in enumerate(self._processes[:world])}
        answers: list[Any] = [None] * world
        while waiting:
            ready = connection.wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
            if not ready:
                raise RankFailed(f"not done in time: ranks {sorted(waiting.values())}")
            said = {waiting.pop(pipe): _received(pipe) for pipe in ready}  # type: ignore[call-overload, arg-type]
            if raised := {rank: text for rank, (text, _) in said.items() if text}:
                raise RankFailed("\n".join(f"rank {rank}: {text}" for rank, text in sorted(raised.items())))
            for rank, (_, answer) in said.items():
                answers[rank] = answer
        return answers


def _received(pipe: connection.Connection) -> tuple[str, Any]:
    try:
        said: tuple[str, Any] = pipe.recv()
    except (EOFError, ConnectionResetError):
        return "died", None
    return said


def _started(rank: int) -> tuple[BaseProcess, connection.Connection]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(rank, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _serve(rank: int, pipe: connection.Connection) -> None:
    import torch

    fresh = torch.get_rng_state()
    gc.collect()
    gc.freeze()  # so that collecting what a job left does not go through all of torch
    while True:
        try:
            pipe.recv().enter()
        except EOFError:
            os._exit(0)
        torch.set_rng_state(fresh)
        torch.set_num_threads(1)
        try:
            said = "", _done(rank, pipe.recv())
        except BaseException:
            said = traceback.format_exc(), None
        pipe.send(said)


def _done(rank: int, job: Job) -> Any:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{job.store}", rank=rank, world_size=job.world)
    answer = job.work(rank, *job.arguments)
    dist.barrier()  # no rank closes what another is still sent to
    dist.destroy_process_group()
    gc.collect()
    return answer
