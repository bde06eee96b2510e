"""A module that is spread over ranks is checked by all of them, each its own rows, and all get one report."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from abilities import sharding_on_the_cpu
from nets import PointNet
from ranks import Ranks
from torch import nn

import registry
from registry import errors


def stored(home: Path) -> PointNet:
    """Push a model as ``net:v1``, and save it beside the home as a wrapped checkpoint."""
    torch.manual_seed(0)
    model = PointNet(num_classes=5, width=9)
    registry.Registry(home).push(model, "net", model="nets:PointNet", init={"num_classes": 5, "width": 9})
    torch.save({f"module.{name}": t for name, t in model.state_dict().items()}, home.parent / "best.pth")
    return model


def sharded(rank: int) -> None:
    from torch.distributed.tensor import DTensor

    model = registry.load("net", fsdp=True)
    path = Path(os.environ["REGISTRY_HOME"]).parent / "best.pth"
    for against in ("net:v1", path):
        report = registry.check(model, against)
        assert report.is_equal and len(report.equal) == 11, str(report)
    weight = model.get_parameter("submodule.weight")
    assert isinstance(weight, DTensor)
    if rank == 1:
        with torch.no_grad():
            weight.to_local()[0, 0, 0] += 1
    for against in ("net:v1", path):
        report = registry.check(model, against)
        assert report.differs == ("submodule.weight",) and len(report.equal) == 10, str(report)
        with pytest.raises(errors.WeightsDiffer, match=r"submodule\.weight"):
            report.require()
    half = registry.load("net", fsdp=True, cast=torch.bfloat16)
    report = registry.check(half, "net")
    assert report.is_equal and len(report.cast) == 10, str(report)
    with pytest.raises(errors.UnknownModel if rank == 0 else errors.OtherRankFailed):
        registry.check(model, "other")
    away = path if rank == 0 else path.with_name("away.pth")
    with pytest.raises(errors.OtherRankFailed if rank == 0 else errors.NoSuchCheckpoint):
        registry.check(model, away)


@sharding_on_the_cpu
def test_a_row_that_differs_on_one_rank_is_reported_on_all(ranks: Ranks, home: Path) -> None:
    stored(home)
    ranks.run(sharded)


def flattened(rank: int) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    torch.manual_seed(0)
    model = FullyShardedDataParallel(PointNet(num_classes=5, width=9), device_id=torch.device("cpu"))
    report = registry.check(model, "net")
    assert report.is_equal and len(report.equal) == 11, str(report)
    torch.manual_seed(1)
    other = FullyShardedDataParallel(PointNet(num_classes=5, width=9), device_id=torch.device("cpu"))
    assert "head.weight" in registry.check(other, "net").differs


def test_what_fsdp1_has_flattened_is_gathered(ranks: Ranks, home: Path) -> None:
    stored(home)
    ranks.run(flattened)


def replicated(rank: int) -> None:
    model = registry.load("net", ddp=True)
    assert isinstance(model, nn.parallel.DistributedDataParallel)
    if rank == 1:
        with torch.no_grad():
            model.module.head.bias += 1
        assert registry.check(model, "net").differs == ("head.bias",)
    dist.barrier()


def test_under_ddp_a_rank_may_check_alone(ranks: Ranks, home: Path) -> None:
    stored(home)
    ranks.run(replicated)
