"""Training under two real DDP processes, and loading under them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from registry.demonstration.clouds import BODIES, clouds
from registry.demonstration.pointnet import PointNet
from registry.registry import Registry

WORLD_SIZE = 2
EPOCHS = 6
CLOUDS = 960
"""For training, divided among the ranks."""
BATCH = 32
HELD_OUT = 480


def train(folder: Path, report: Callable[[int, int], None]) -> None:
    """Train on ``WORLD_SIZE`` processes and save ``ddp.pth`` and ``ddp_module.pth``, as people do.

    Args:
        report: called with (epochs done, epochs in all).
    """
    _on_every_rank(_train, folder, report)


def load_under_ddp(folder: Path, home: Path, refs: Sequence[str]) -> list[dict[str, Any]]:
    """Load versions on every rank, and return the worse of what the ranks got of each: state dict and accuracy."""
    _on_every_rank(_load, folder, lambda done, total: None, str(home), *refs)
    ranks = [torch.load(folder / f"rank{rank}.pth", weights_only=True) for rank in range(WORLD_SIZE)]
    return [min(of_one, key=lambda got: float(got["accuracy"])) for of_one in zip(*ranks, strict=True)]


def accuracy(model: nn.Module) -> float:
    """Return the part of the held-out clouds that a model names rightly."""
    inputs, labels = clouds(HELD_OUT, seed=2)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        right: Tensor = (model(inputs).argmax(1) == labels).float().mean()
    model.train(was_training)
    return float(right)


def _on_every_rank(work: Callable[..., None], folder: Path, report: Callable[[int, int], None], *rest: str) -> None:
    context = mp.get_context("spawn")
    done = context.SimpleQueue()
    store = folder / f"{work.__name__}.store"
    job = mp.spawn(  # type: ignore[attr-defined, no-untyped-call]
        _start, (work, str(store), str(folder), done, rest), nprocs=WORLD_SIZE, join=False
    )
    while not job.join(timeout=0.2):
        while not done.empty():
            report(*done.get())
    store.unlink(missing_ok=True)


def _start(rank: int, work: Callable[..., None], store: str, folder: str, done: Any, rest: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD_SIZE)
    try:
        work(rank, Path(folder), done, *rest)
    finally:
        dist.destroy_process_group()


def _train(rank: int, folder: Path, done: Any) -> None:
    torch.manual_seed(0)
    model = DistributedDataParallel(PointNet(num_classes=len(BODIES)))
    inputs, labels = (part[rank::WORLD_SIZE] for part in _shuffled(*clouds(CLOUDS, seed=1)))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(BATCH):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if rank == 0:
            done.put((epoch + 1, EPOCHS))
    if rank == 0:
        torch.save(model.state_dict(), folder / "ddp.pth")
        torch.save(model.module.state_dict(), folder / "ddp_module.pth")


def _shuffled(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    return inputs[order], labels[order]


def _load(rank: int, folder: Path, done: Any, home: str, *refs: str) -> None:
    got = []
    for ref in refs:
        model = Registry(home).load(ref, ddp=True, rank=rank)
        assert isinstance(model, DistributedDataParallel)
        state = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
        got.append({"state": state, "accuracy": accuracy(model.module)})
    torch.save(got, folder / f"rank{rank}.pth")
