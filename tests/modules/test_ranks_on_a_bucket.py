"""The ranks of one node fetch each blob once, whatever they load it as."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from abilities import sharding_on_the_cpu
from bucket_server import Buckets, Meter
from ranks import Ranks

import registry

pytestmark = pytest.mark.services

WIDTH = 1500
BYTES = 4 * WIDTH * (WIDTH + 1)

PUSH = f"""
import torch, registry
torch.manual_seed(3)
registry.push(torch.nn.Linear({WIDTH}, {WIDTH}), "net", init={{"in_features": {WIDTH}, "out_features": {WIDTH}}})
registry.push({{"one": torch.ones(3)}}, "other")
"""


@pytest.fixture
def meter(buckets: Buckets, bucket: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """What counts the bytes of a node that has nothing cached yet, of a home that another one has pushed to."""
    home.mkdir()
    (home / "registry.toml").write_text(f'blobs = "{bucket}"\ncache = "~/cache"\n')
    monkeypatch.setenv("HOME", str(home.parent / "host-1"))
    subprocess.run([sys.executable, "-c", PUSH], check=True)
    monkeypatch.setenv("HOME", str(home.parent / "host-2"))
    monkeypatch.setenv("REGISTRY_TRUST", "torch")
    counting = Meter(buckets.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", counting.endpoint)
    yield counting
    counting.close()


def with_ddp(rank: int) -> list[float]:
    model = registry.load("net", ddp=True, rank=rank)
    return [float(value) for value in model.module.weight.detach()[-1]]


def with_fsdp(rank: int) -> int:
    sharding_on_the_cpu()
    model = registry.load("net", fsdp=True)
    return int(model.weight.to_local().numel())


def check_fetched_once(meter: Meter) -> None:
    assert BYTES < meter.received < 1.2 * BYTES, "each byte of the node came once"
    assert max(meter.gets.values()) == 1 and len(meter.gets) == 1, "and nothing of another version"


def test_four_ranks_under_ddp_fetch_each_blob_once(ranks: Ranks, meter: Meter) -> None:
    torch.manual_seed(3)
    pushed = torch.nn.Linear(WIDTH, WIDTH).weight.detach()[-1].tolist()
    assert ranks.run(with_ddp, world=4) == [pushed] * 4
    check_fetched_once(meter)


def test_four_ranks_under_fsdp_fetch_each_blob_once(ranks: Ranks, meter: Meter) -> None:
    assert sum(ranks.run(with_fsdp, world=4)) == WIDTH * WIDTH
    check_fetched_once(meter)
