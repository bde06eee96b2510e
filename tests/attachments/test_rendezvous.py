"""Ranks that fail, die, come late or do not come, while one of them stores for all."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from abilities import sharding_on_the_cpu
from contents import is_empty
from nets import PointNet
from ranks import Ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import registry
from registry import errors

LIMIT = timedelta(seconds=6)
Work = Callable[[int], object]


def said(rank: int, work: Work) -> str:
    """Return what a rank says, or what it refuses with."""
    try:
        return str(work(rank))
    except errors.RegistryError as error:
        return f"{type(error).__name__}: {error}"


def start(rank: int, work: Work, store: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    Path(folder, f"rank{rank}").write_text(said(rank, work))
    os._exit(0)  # it has lost a rank, and torch would wait for it


def outcomes(work: Work, folder: Path) -> list[str | None]:
    """Return what each of two new ranks said, or None if it died, after making sure that none hangs."""
    context = mp.get_context("spawn")
    ranks = [context.Process(target=start, args=(r, work, str(folder / "store"), str(folder))) for r in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    hung = [process for process in ranks if process.is_alive()]
    for process in hung:
        process.kill()
    assert not hung
    left = [folder / f"rank{rank}" for rank in range(2)]
    return [path.read_text() if path.exists() else None for path in left]


def sharded(model: nn.Module) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    fully_shard(model)
    return model


def push_on_rank_zero_alone(rank: int) -> str:
    model = DistributedDataParallel(PointNet())
    ref = registry.push(model, "net", timeout=LIMIT).ref if rank == 0 else "went on"
    dist.barrier(dist.new_group([0, 1]))  # the job is not disturbed by it
    return ref


def test_nobody_waits_for_ranks_that_are_not_needed(ranks: Ranks, hub: registry.Registry) -> None:
    assert ranks.run(push_on_rank_zero_alone) == ["net:v1", "went on"]


def push_alone_and_together(rank: int) -> str:
    model = DistributedDataParallel(PointNet())
    together = []
    for epoch in range(2):
        model(torch.ones(2, 3, 8)).sum().backward()
        if rank == 0:
            registry.push(model, "net", force_new=True, timeout=LIMIT)
        together.append(registry.push(model, "net", epoch=epoch, timeout=LIMIT).ref)
    return " ".join(together)


def test_no_rank_takes_an_older_result_for_its_own(ranks: Ranks, hub: registry.Registry) -> None:
    assert ranks.run(push_alone_and_together) == ["net:v2 net:v4"] * 2


def push_and_leave(rank: int, port: int) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = DistributedDataParallel(PointNet())
    if rank == 1:
        time.sleep(1)  # rank 0, in which the job's store is, comes to its end first
    assert registry.push(model, "net").ref == "net:v1"
    # After whatever is done at the end of a process; gloo's threads sometimes abort an interpreter that ends.
    Finalize(None, os._exit, (0,), exitpriority=-1)


def test_the_rank_that_wrote_leaves_only_after_the_others_know(hub: registry.Registry) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(push_and_leave, (port,), nprocs=2)


def push_sharded_on_one_rank(rank: int, given_up: Path) -> str:
    model = sharded(PointNet())
    if rank == 1:
        while not given_up.exists():
            time.sleep(0.02)
        return "elsewhere"
    with pytest.raises(errors.RankUnreachable, match="every rank"):
        registry.push(model, "net", timeout=timedelta(seconds=2))
    given_up.touch()
    return "went on"


def test_a_rank_that_is_needed_is_waited_for_no_longer_than_the_limit(
    ranks: Ranks, hub: registry.Registry, tmp_path: Path
) -> None:
    assert ranks.run(push_sharded_on_one_rank, tmp_path / "given up") == ["went on", "elsewhere"]
    assert is_empty(hub)


def push_what_diverged(rank: int) -> str:
    loss = float("nan") if rank == 0 else 0.5
    return registry.push(DistributedDataParallel(PointNet()), "net", metrics={"loss": loss}, timeout=LIMIT).ref


def push_later_what_fails(rank: int) -> str:
    model = DistributedDataParallel(PointNet())
    return registry.push(model, "net", parent="nobody:v3", blocking=False, timeout=LIMIT).wait().ref


@pytest.mark.in_a_folder
@pytest.mark.parametrize(
    ("work", "error"), [(push_what_diverged, "InvalidMetric"), (push_later_what_fails, "NoRegistry")]
)
def test_what_fails_on_the_writer_is_told_to_all(work: Work, error: str, ranks: Ranks, hub: registry.Registry) -> None:
    told = ranks.run(said, work)
    assert all(error in text for text in told)
    assert told[1].startswith("OtherRankFailed")


def push_and_die_writing(rank: int) -> str:
    def die(done: int, whole: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return registry.push(
        DistributedDataParallel(nn.Linear(900, 900)), "net", timeout=timedelta(seconds=2), progress=die
    ).ref


def test_a_writer_that_dies_leaves_no_version(hub: registry.Registry, tmp_path: Path) -> None:
    told = outcomes(push_and_die_writing, tmp_path)
    assert told[0] is None
    assert told[1] is not None and told[1].startswith("RankUnreachable")
    assert is_empty(hub)
    assert hub.push(PointNet(), "net").version == 1


def push_with_an_example(rank: int) -> str:
    return registry.push(sharded(PointNet()), "net", timeout=LIMIT, example=torch.ones(2, 3, 8)).ref


@sharding_on_the_cpu
def test_all_ranks_run_the_example_of_a_sharded_model(ranks: Ranks, hub: registry.Registry) -> None:
    assert ranks.run(push_with_an_example) == ["net:v1"] * 2
    assert hub.replay("net", model=hub.load("net", model=PointNet())).agrees


def hold_what_was_gathered(rank: int) -> int:
    from registry.attachments.attachment import Job
    from registry.attachments.training.job import attach_job

    model = sharded(nn.Linear(40, 40, bias=False))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 40)).sum().backward()
    optimizer.step()
    return len(attach_job(model, Job(optimizer), keep=rank == 0).tensors)


@sharding_on_the_cpu
def test_only_the_writer_holds_the_whole_optimizer_state(ranks: Ranks) -> None:
    assert ranks.run(hold_what_was_gathered) == [3, 0]


def resume_with_another_optimizer_on_one(rank: int) -> Any:
    torch.manual_seed(rank)
    model = PointNet()
    before = model.head.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters() if rank == 0 else [model.head.weight], lr=0.5)
    try:
        registry.resume("net", model, optimizer)
    except errors.RegistryError:
        return torch.equal(before, model.head.weight) and not optimizer.state and optimizer.param_groups[0]["lr"] == 0.5


def test_a_resumption_that_fails_on_one_rank_changes_nothing_on_any(ranks: Ranks, hub: registry.Registry) -> None:
    model = PointNet()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3, 8)).sum().backward()
    optimizer.step()
    hub.push(model, "net", optimizer=optimizer)
    assert ranks.run(resume_with_another_optimizer_on_one) == [True, True]
