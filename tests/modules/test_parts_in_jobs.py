"""Several models that a job of real processes trains together: one version, from which any number of ranks goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from abilities import sharding_on_the_cpu
from branches import Projector, Words, equal, fresh, step, trained, values
from ranks import Ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import registry
from registry import errors


def pretrained(rank: int) -> None:
    """Train two models under DDP with one optimizer, and push both from every rank."""
    torch.manual_seed(rank)
    parts: dict[str, Any] = {name: DistributedDataParallel(part) for name, part in fresh().items()}
    optimizer = torch.optim.Adam([p for part in parts.values() for p in part.parameters()])
    step(parts, optimizer)
    entry = registry.push(parts, "cp", optimizer=optimizer)
    again = registry.push(nn.ModuleDict(parts), "cp", optimizer=optimizer)
    assert (entry.ref, again.ref, again.reused) == ("cp:v1", "cp:v1", True)
    assert entry.world_size == 2 and entry.wrapper == "ddp"
    if rank == 0:
        torch.save({name: values(part.module) for name, part in parts.items()}, "trained.pt")


def gone_on(rank: int) -> None:
    """Load both for training, each under DDP on every rank, and one of them alone."""
    wanted = torch.load("trained.pt")
    parts: Any = registry.load("cp", ddp=True)
    for name, part in parts.items():
        assert isinstance(part, DistributedDataParallel) and part.training
        assert equal(values(part.module), wanted[name])
    optimizer = torch.optim.Adam([p for part in parts.values() for p in part.parameters()])
    registry.resume("cp", parts, optimizer)
    parts["point"](torch.full((2, 3, 7), float(rank))).sum().backward()
    gradients = [p.grad for p in parts["point"].parameters() if p.grad is not None]
    for gradient in gradients:
        other = gradient.clone()
        dist.all_reduce(other)
        assert torch.equal(other, gradient * 2), "the ranks have one gradient"
    alone: Any = registry.load("cp", part="img", ddp=True)
    assert isinstance(alone, DistributedDataParallel) and equal(values(alone.module), wanted["img"])
    given = fresh()
    loaded: Any = registry.load("cp", model=given, ddp=True)
    assert all(loaded[name].module is part for name, part in given.items())
    assert equal(values(given["img"]), wanted["img"])


def test_two_models_of_one_job_are_one_version_and_load_under_ddp(
    ranks: Ranks, hub: registry.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ranks.run(pretrained)
    wanted = torch.load("trained.pt")
    loaded: Any = hub.load("cp")
    assert all(equal(values(loaded[name]), wanted[name]) for name in wanted)
    assert equal(values(hub.load("cp", part="img")), wanted["img"])
    ranks.run(gone_on)


def failing(rank: int) -> None:
    parts = fresh()
    before = values(parts["point"])
    if rank == 1:
        parts["img"] = nn.Linear(2, 2)
    with pytest.raises(errors.OtherRankFailed if rank == 0 else errors.FitError):
        registry.load("cp", model=parts, ddp=True)
    assert equal(values(parts["point"]), before)


def test_a_part_that_does_not_fit_on_one_rank_changes_no_part_on_any(ranks: Ranks, hub: registry.Registry) -> None:
    hub.push(trained()[0], "cp")
    ranks.run(failing)


def sharded(rank: int) -> None:
    parts: Any = registry.load("cp", fsdp=True)
    report = registry.check(parts, "cp")
    assert report.is_equal and len(report.equal) == 20, str(report)
    whole = dict(parts["img"].named_parameters())["projection.weight"]
    assert len(whole.to_local()) == len(whole) // 2
    assert registry.check(registry.load("cp", part="img", fsdp=True), "cp", part="img").is_equal
    assert registry.push(parts, "cp").reused
    with pytest.raises(errors.CannotShard, match="shared between parts"):
        registry.load("shared", fsdp=True)


@sharding_on_the_cpu
def test_each_part_is_sharded_by_itself(ranks: Ranks, hub: registry.Registry) -> None:
    hub.push(trained()[0], "cp")
    words, head = Words(), Projector()
    head.fc.weight = words.embed.weight
    hub.push({"words": words, "head": head}, "shared")
    ranks.run(sharded)
