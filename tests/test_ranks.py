"""The processes that serve as ranks are those of real jobs, and one that fails fails one test."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch.distributed as dist
from ranks import RankFailed, Ranks


@pytest.fixture
def own() -> Iterator[Ranks]:
    processes = Ranks()
    yield processes
    processes.close()


def place(rank: int) -> tuple[int, int, str | None, str]:
    return os.getpid(), dist.get_world_size(), os.environ.get("PLACE"), str(Path.cwd())


def raising(rank: int) -> None:
    if rank == 1:
        raise LookupError("the needle")
    dist.barrier()  # the other rank never comes


def dying(rank: int) -> None:
    os._exit(3)


def hanging(rank: int) -> None:
    time.sleep(600)


def test_a_job_has_the_place_of_its_test_and_the_processes_of_the_one_before(
    ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ranks.run(place)
    monkeypatch.setenv("PLACE", "here")
    monkeypatch.chdir(tmp_path)
    after = ranks.run(place)
    assert [pid for pid, *_ in before] == [pid for pid, *_ in after]
    assert [rest for _, *rest in after] == [[2, "here", str(tmp_path)]] * 2


@pytest.mark.parametrize(
    ("work", "world", "seconds", "said"),
    [
        (raising, 2, 60, "rank 1: (?s:.*)the needle"),
        (dying, 1, 60, "rank 0: died"),
        (hanging, 1, 0.1, r"not done in time: ranks \[0\]"),
    ],
)
def test_a_rank_that_fails_fails_one_job(
    work: Callable[[int], None], world: int, seconds: float, said: str, own: Ranks
) -> None:
    with pytest.raises(RankFailed, match=said):
        own.run(work, world=world, seconds=seconds)
    if work is dying:
        assert own.run(place, world=1)[0][1] == 1
