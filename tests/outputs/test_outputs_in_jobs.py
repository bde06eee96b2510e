"""Outputs verified by every rank of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from abilities import sharding_on_the_cpu
from nets import PointNet

import registry
from registry.errors import RegistryError

RANKS = 2


def load(rank: int, folder: str, wrapper: str, init: dict[str, Any] | None, outcome: Any) -> None:
    """Load with verified outputs on one of the ranks, and tell what came of it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    try:
        model = registry.load("net", **{wrapper: True}, rank=rank, verify="outputs", init=init)
        outcome.put(type(model).__name__)
    except RegistryError as error:
        outcome.put(type(error).__name__)
    finally:
        dist.barrier()  # a rank that leaves while another still talks to it takes that one with it
        dist.destroy_process_group()


def outcomes(folder: Path, wrapper: str, init: dict[str, Any] | None = None) -> list[str]:
    """Return what became of a load on every rank."""
    outcome = mp.get_context("spawn").SimpleQueue()
    mp.spawn(load, (str(folder), wrapper, init, outcome), nprocs=RANKS)
    return [outcome.get() for _ in range(RANKS)]


@pytest.mark.parametrize(
    ("wrapper", "expected"),
    [("ddp", "DistributedDataParallel"), pytest.param("fsdp", "FSDPPointNet", marks=sharding_on_the_cpu)],
)
def test_every_rank_verifies_the_outputs_of_its_model(
    hub: registry.Registry, tmp_path: Path, wrapper: str, expected: str
) -> None:
    hub.push(PointNet(), "net", model="nets:PointNet", example=torch.randn(2, 3, 16))
    assert outcomes(tmp_path, wrapper) == [expected] * RANKS


def test_other_outputs_are_refused_on_every_rank(hub: registry.Registry, tmp_path: Path) -> None:
    from computing_nets import Activated

    hub.push(Activated(), "net", model="computing_nets:Activated", example=torch.randn(2, 4))
    assert outcomes(tmp_path, "ddp", {"slope": 0.5}) == ["OutputsDiffer"] * RANKS
