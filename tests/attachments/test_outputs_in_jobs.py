"""Outputs verified by every rank of a job."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from abilities import sharding_on_the_cpu
from nets import PointNet
from ranks import Ranks

import registry
from registry.errors import RegistryError


def outcome(rank: int, wrapper: str, init: dict[str, Any] | None = None) -> str:
    """Load with verified outputs on one of the ranks, and tell what came of it."""
    wrapped: dict[str, Any] = {wrapper: True}
    try:
        return type(registry.load("net", **wrapped, rank=rank, verify="outputs", init=init)).__name__
    except RegistryError as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("wrapper", "expected"),
    [("ddp", "DistributedDataParallel"), pytest.param("fsdp", "FSDPPointNet", marks=sharding_on_the_cpu)],
)
def test_every_rank_verifies_the_outputs_of_its_model(
    ranks: Ranks, hub: registry.Registry, wrapper: str, expected: str
) -> None:
    hub.push(PointNet(), "net", model="nets:PointNet", example=torch.randn(2, 3, 16))
    assert ranks.run(outcome, wrapper) == [expected] * 2


def test_other_outputs_are_refused_on_every_rank(ranks: Ranks, hub: registry.Registry) -> None:
    from computing_nets import Activated

    hub.push(Activated(), "net", model="computing_nets:Activated", example=torch.randn(2, 4))
    assert ranks.run(outcome, "ddp", {"slope": 0.5}) == ["OutputsDiffer"] * 2
