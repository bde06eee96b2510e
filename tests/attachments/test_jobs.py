"""Pushes and resumptions by the ranks of a job together."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
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


def wrapped(kind: str) -> nn.Module:
    torch.manual_seed(3)
    model = PointNet()
    if kind == "ddp":
        return DistributedDataParallel(model)
    if kind.startswith("fsdp1"):
        from torch.distributed.fsdp import FullyShardedDataParallel

        keeps = kind == "fsdp1, original parameters"
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=keeps)
    from torch.distributed.fsdp import fully_shard

    fully_shard(model)
    return model


def one_step(model: nn.Module, rank: int, world: int) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    inputs = torch.randn(8, 3, 8, generator=torch.Generator().manual_seed(1))
    model.eval()  # statistics of each rank's own batch would differ from those of the whole
    model(inputs[rank::world]).square().mean().backward()
    optimizer.step()
    return optimizer


def push_together(rank: int, kind: str) -> None:
    world = dist.get_world_size()
    model = wrapped(kind)
    optimizer = one_step(model, rank, world)
    entry = registry.push(model, "net", optimizer=optimizer, step=1, metrics={"acc": 0.5}, aliases=["last"])
    gathered: list[Any] = [None] * world
    dist.all_gather_object(gathered, entry)
    assert all(other == entry for other in gathered)
    assert (entry.version, entry.world_size) == (1, world)
    assert ("ddp" if kind == "ddp" else "fsdp") in entry.wrapper


def resume_together(rank: int, folder: Path, kind: str) -> None:
    model = wrapped(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5)
    resumed = registry.resume("net:last", model, optimizer)
    assert resumed.step == 1
    assert optimizer.param_groups[0]["lr"] == 0.01
    state = optimizer.state_dict()["state"][0]["exp_avg"]
    whole = state.full_tensor() if hasattr(state, "full_tensor") else state
    if rank == 0:
        torch.save(whole, folder / f"{kind}{dist.get_world_size()}.pt")


@sharding_on_the_cpu
@pytest.mark.parametrize(
    ("pushed", "world"), [("ddp", 2), ("fsdp", 2), ("fsdp", 4), ("fsdp1", 2), ("fsdp1, original parameters", 2)]
)
def test_every_rank_gets_one_entry_and_any_number_resumes(
    pushed: str, world: int, ranks: Ranks, hub: registry.Registry, tmp_path: Path
) -> None:
    ranks.run(push_together, pushed, world=world)
    alone = PointNet()
    optimizer = torch.optim.Adam(alone.parameters())
    hub.resume("net:last", alone, optimizer)
    truth = optimizer.state[next(alone.parameters())]["exp_avg"]
    assert truth.abs().sum() > 0
    assert [float(entry["step"]) for entry in optimizer.state.values()] == [1.0] * len(list(alone.parameters()))
    ranks.run(resume_together, tmp_path, "ddp")
    ranks.run(resume_together, tmp_path, "fsdp")
    for kind in ("ddp2", "fsdp2"):
        assert torch.equal(torch.load(tmp_path / f"{kind}.pt"), truth)


def push_before_the_first_step(rank: int) -> None:
    model = wrapped("fsdp1")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.25)
    registry.push(model, "net", optimizer=optimizer)
    assert not optimizer.state
    for optimizers in ((optimizer,), ()):
        with pytest.raises(errors.FlattenedParameters, match="fully_shard"):
            registry.resume("net", model, *optimizers)


def test_an_optimizer_without_a_state_is_left_so(ranks: Ranks, hub: registry.Registry) -> None:
    ranks.run(push_before_the_first_step)
    alone = PointNet()
    optimizer = torch.optim.Adam(alone.parameters())
    hub.resume("net", alone, optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert not optimizer.state


def push_and_load_a_sharded_wrapper(rank: int) -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
    from torch.distributed.fsdp import fully_shard

    def spread(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = nn.Sequential(checkpoint_wrapper(nn.Linear(4, 4)), nn.Linear(4, 2))
        fully_shard(model[0])  # the wrapper itself, and nothing around it
        return model

    entry = registry.push(spread(0), "net")
    assert entry.wrapper == "fsdp(checkpoint)"
    other = registry.load("net", model=spread(1))
    report = registry.check(other, "net")
    assert report.is_equal and len(report.equal) == 4, str(report)


@sharding_on_the_cpu
def test_a_wrapper_that_is_sharded_itself_is_seen_as_both(ranks: Ranks, home: Path) -> None:
    ranks.run(push_and_load_a_sharded_wrapper)


def push_badly(rank: int) -> None:
    with pytest.raises(errors.RegistryError):
        registry.push(wrapped("ddp"), "net", parent="nobody:v7")


def test_what_fails_on_the_writing_rank_raises_on_all(ranks: Ranks, hub: registry.Registry) -> None:
    ranks.run(push_badly)
    assert is_empty(hub)


def push_and_die(rank: int, store: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model = wrapped("fsdp")
    ready = Path(folder, "ready")
    if rank == 1:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    ready.touch()
    begun = time.monotonic()
    try:
        registry.push(model, "net", timeout=timedelta(seconds=5))
    except errors.RegistryError as error:
        Path(folder, "said").write_text(f"{time.monotonic() - begun:.0f} {error}")
    os._exit(0)


def test_a_rank_that_dies_makes_the_others_raise_within_the_limit(hub: registry.Registry, tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    ranks = [context.Process(target=push_and_die, args=(r, str(tmp_path / "store"), str(tmp_path))) for r in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
        assert not process.is_alive()
    assert int((tmp_path / "said").read_text().split()[0]) <= 30
    assert not hub.home.exists()


def load_shards(rank: int, ref: str) -> None:
    model = registry.load(ref, fsdp=True, rank=rank)
    shards: list[Any] = [*model.parameters()]
    own = sum(shard.to_local().numel() for shard in shards)
    whole = sum(p.numel() for p in model.parameters())
    assert own <= whole / dist.get_world_size() + 64 * len(list(model.parameters()))
    for name, tensor in registry.state_dict(ref).items():
        mine = model.state_dict()[name]
        assert torch.equal(mine.full_tensor() if hasattr(mine, "full_tensor") else mine, tensor)


@pytest.mark.parametrize("world", [2, 4])
def test_each_rank_holds_its_own_shards_alone(world: int, ranks: Ranks, hub: registry.Registry) -> None:
    entry = hub.push(PointNet(width=64), "net", model="nets:PointNet", init={"width": 64})
    ranks.run(load_shards, entry.ref, world=world)


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, numbers: range, rank: int, world: int) -> list[float]:
    """Train on this rank's part of each batch, and return the losses of the whole batches."""
    model.eval()
    losses = []
    for number in numbers:
        inputs = torch.randn(8, 3, 8, generator=torch.Generator().manual_seed(number))
        loss = model(inputs[rank::world]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        whole = loss.detach().clone()
        if world > 1:
            dist.all_reduce(whole)
        losses.append(float(whole) / world)
    return losses


def fresh() -> tuple[PointNet, torch.optim.Optimizer]:
    torch.manual_seed(3)
    model = PointNet()
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def half_on_two(rank: int, folder: Path, first: bool) -> None:
    model, optimizer = fresh()
    wrapped_model = DistributedDataParallel(model)
    if not first:
        registry.resume("net:last", wrapped_model, optimizer)
    losses = steps(wrapped_model, optimizer, range(3) if first else range(3, 6), rank, 2)
    if first:
        registry.push(wrapped_model, "net", optimizer=optimizer, aliases=["last"])
    if rank == 0:
        torch.save(losses, folder / "losses.pt")


@pytest.mark.parametrize("two_first", [True, False], ids=["from two ranks to one", "from one rank to two"])
def test_the_loss_goes_on_over_another_number_of_ranks(
    two_first: bool, ranks: Ranks, hub: registry.Registry, tmp_path: Path
) -> None:
    truth = steps(*fresh(), range(6), 0, 1)
    model, optimizer = fresh()
    if not two_first:
        alone = steps(model, optimizer, range(3), 0, 1)
        hub.push(model, "net", optimizer=optimizer, aliases=["last"])
    ranks.run(half_on_two, tmp_path, two_first)
    together = torch.load(tmp_path / "losses.pt")
    if two_first:
        hub.resume("net:last", model, optimizer)
        alone = steps(model, optimizer, range(3, 6), 0, 1)
    assert (together + alone if two_first else alone + together) == pytest.approx(truth, rel=1e-4)
