"""Ranks that fail, die, come late or do not come, while one of them stores for all."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from abilities import sharding_on_the_cpu
from nets import PointNet
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import registry
from registry import errors

LIMIT = timedelta(seconds=6)
Work = Callable[[int], object]


def start(rank: int, work: Work, store: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        said = str(work(rank))
    except errors.RegistryError as error:
        said = f"{type(error).__name__}: {error}"
    Path(folder, f"rank{rank}").write_text(said)
    os._exit(0)  # some have lost a rank, and torch would wait for it


def outcomes(work: Work, folder: Path) -> list[str | None]:
    """Return what each of two ranks said, or None if it died, after making sure that none hangs."""
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
    said = [folder / f"rank{rank}" for rank in range(2)]
    return [path.read_text() if path.exists() else None for path in said]


def sharded(model: nn.Module) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    fully_shard(model)
    return model


def push_on_rank_zero_alone(rank: int) -> str:
    model = DistributedDataParallel(PointNet())
    said = registry.push(model, "net", timeout=LIMIT).ref if rank == 0 else "went on"
    dist.barrier(dist.new_group([0, 1]))  # the job is not disturbed by it
    return said


def test_nobody_waits_for_ranks_that_are_not_needed(hub: registry.Registry, tmp_path: Path) -> None:
    assert outcomes(push_on_rank_zero_alone, tmp_path) == ["net:v1", "went on"]


def push_alone_and_together(rank: int) -> str:
    model = DistributedDataParallel(PointNet())
    together = []
    for epoch in range(2):
        model(torch.ones(2, 3, 8)).sum().backward()
        if rank == 0:
            registry.push(model, "net", force_new=True, timeout=LIMIT)
        together.append(registry.push(model, "net", epoch=epoch, timeout=LIMIT).ref)
    return " ".join(together)


def test_no_rank_takes_an_older_result_for_its_own(hub: registry.Registry, tmp_path: Path) -> None:
    assert outcomes(push_alone_and_together, tmp_path) == ["net:v2 net:v4"] * 2


def push_and_leave(rank: int, port: int) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = DistributedDataParallel(PointNet())
    if rank == 1:
        time.sleep(1)  # rank 0, in which the job's store is, comes to its end first
    assert registry.push(model, "net").ref == "net:v1"


def test_the_rank_that_wrote_leaves_only_after_the_others_know(hub: registry.Registry) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(push_and_leave, (port,), nprocs=2)


def push_sharded_on_one_rank(rank: int) -> str:
    model = sharded(PointNet())
    if rank == 1:
        time.sleep(LIMIT.total_seconds() + 14)
        return "elsewhere"
    begun = time.monotonic()
    with pytest.raises(errors.RankUnreachable, match="every rank"):
        registry.push(model, "net", timeout=LIMIT)
    return "in time" if time.monotonic() - begun < LIMIT.total_seconds() + 6 else "too late"


def test_a_rank_that_is_needed_is_waited_for_no_longer_than_the_limit(hub: registry.Registry, tmp_path: Path) -> None:
    assert outcomes(push_sharded_on_one_rank, tmp_path) == ["in time", "elsewhere"]
    assert hub.list() == ()


def push_what_diverged(rank: int) -> str:
    loss = float("nan") if rank == 0 else 0.5
    return registry.push(DistributedDataParallel(PointNet()), "net", metrics={"loss": loss}, timeout=LIMIT).ref


def push_later_what_fails(rank: int) -> str:
    model = DistributedDataParallel(PointNet())
    return registry.push(model, "net", parent="nobody:v3", blocking=False, timeout=LIMIT).wait().ref


@pytest.mark.parametrize(
    ("work", "error"), [(push_what_diverged, "InvalidMetric"), (push_later_what_fails, "UnknownModel")]
)
def test_what_fails_on_the_writer_is_told_to_all(
    work: Work, error: str, hub: registry.Registry, tmp_path: Path
) -> None:
    said = outcomes(work, tmp_path)
    assert all(text is not None and error in text for text in said)
    assert said[1] is not None and said[1].startswith("OtherRankFailed")


def push_and_die_writing(rank: int) -> str:
    def die(done: int, whole: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return registry.push(DistributedDataParallel(nn.Linear(900, 900)), "net", timeout=LIMIT, progress=die).ref


def test_a_writer_that_dies_leaves_no_version(hub: registry.Registry, tmp_path: Path) -> None:
    said = outcomes(push_and_die_writing, tmp_path)
    assert said[0] is None
    assert said[1] is not None and said[1].startswith("RankUnreachable")
    assert hub.list() == ()
    assert hub.push(PointNet(), "net").version == 1


def push_with_an_example(rank: int) -> str:
    return registry.push(sharded(PointNet()), "net", timeout=LIMIT, example=torch.ones(2, 3, 8)).ref


@sharding_on_the_cpu
def test_all_ranks_run_the_example_of_a_sharded_model(hub: registry.Registry, tmp_path: Path) -> None:
    assert outcomes(push_with_an_example, tmp_path) == ["net:v1"] * 2
    assert hub.replay("net", model=hub.load("net", model=PointNet())).agrees


def hold_what_was_gathered(rank: int) -> int:
    from registry.attachments.training.job import Job, attach_job

    model = sharded(nn.Linear(40, 40, bias=False))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 40)).sum().backward()
    optimizer.step()
    return len(attach_job(model, Job(optimizer), keep=rank == 0).tensors)


@sharding_on_the_cpu
def test_only_the_writer_holds_the_whole_optimizer_state(tmp_path: Path) -> None:
    assert outcomes(hold_what_was_gathered, tmp_path) == ["3", "0"]


def resume_with_another_optimizer_on_one(rank: int) -> Any:
    torch.manual_seed(rank)
    model = PointNet()
    before = model.head.weight.detach().clone()
    optimizer = torch.optim.Adam(model.parameters() if rank == 0 else [model.head.weight], lr=0.5)
    try:
        registry.resume("net", model, optimizer)
    except errors.RegistryError:
        return torch.equal(before, model.head.weight) and not optimizer.state and optimizer.param_groups[0]["lr"] == 0.5


def test_a_resumption_that_fails_on_one_rank_changes_nothing_on_any(hub: registry.Registry, tmp_path: Path) -> None:
    model = PointNet()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3, 8)).sum().backward()
    optimizer.step()
    hub.push(model, "net", optimizer=optimizer)
    assert outcomes(resume_with_another_optimizer_on_one, tmp_path) == ["True"] * 2
