"""Training under two real DDP processes, and loading under them again."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException
from torch.nn.parallel import DistributedDataParallel

from registry.demonstration.clouds import BODIES, clouds
from registry.demonstration.pointnet import PointNet
from registry.errors.demonstration import DemonstrationFailed
from registry.registry import Registry

WORLD_SIZE = 2
EPOCHS = 6
HALFWAY = EPOCHS // 2
CLOUDS = 960
"""For training, divided among the ranks."""
BATCH = 32
HELD_OUT = 480

State = dict[str, Tensor]


def train(folder: Path, report: Callable[[str], None]) -> None:
    """Train on ``WORLD_SIZE`` processes and save ``ddp.pth`` and ``ddp_module.pth``, as people do.

    What the model is after half of the epochs is saved as ``ddp_halfway.pth``.

    Args:
        report: called with what was just done, once for each process that has begun and for each epoch.

    Raises:
        DemonstrationFailed: a process ended early, as when the disk is full.
    """
    _on_every_rank(_train, folder, report)


def load_under_ddp(home: Path, refs: Sequence[str], report: Callable[[str], None]) -> list[list[tuple[State, float]]]:
    """Load versions on every rank, and return of each version what every rank got: its tensors and its accuracy.

    Args:
        report: called with what was just done, once for each process that has begun and for each version.
    """
    with tempfile.TemporaryDirectory() as folder:
        _on_every_rank(_load, Path(folder), report, str(home), *refs)
        ranks = [torch.load(_of_rank(Path(folder), rank), weights_only=True) for rank in range(WORLD_SIZE)]
    return [list(of_one) for of_one in zip(*ranks, strict=True)]


def accuracy(model: nn.Module) -> float:
    """Return the part of the held-out clouds that a model classifies correctly."""
    inputs, labels = _held_out()
    was_training = model.training
    model.eval()
    with torch.no_grad():
        right: Tensor = (model(inputs).argmax(1) == labels).float().mean()
    model.train(was_training)
    return float(right)


@cache
def _held_out() -> tuple[Tensor, Tensor]:
    return clouds(HELD_OUT, seed=2)


def _of_rank(folder: Path, rank: int) -> Path:
    return folder / f"rank{rank}.pth"


def _on_every_rank(work: Callable[..., None], folder: Path, report: Callable[[str], None], *rest: str) -> None:
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # it would tell of the ranks it ends
    context = mp.get_context("spawn")
    done = context.SimpleQueue()
    store = folder / f"{work.__name__}.store"
    with _interrupts_are_ours():
        job = mp.spawn(  # type: ignore[no-untyped-call]
            _start, (work, str(store), str(folder), done, rest), nprocs=WORLD_SIZE, join=False
        )
    try:
        while not job.join(timeout=0.2):
            while not done.empty():
                report(done.get())
    except (ProcessRaisedException, ProcessExitedException) as error:
        raise DemonstrationFailed(str(folder), str(error).strip().splitlines()[-1]) from error
    except KeyboardInterrupt:
        for process in job.processes:
            process.kill()
        raise
    while not done.empty():
        report(done.get())
    store.unlink(missing_ok=True)


@contextlib.contextmanager
def _interrupts_are_ours() -> Iterator[None]:
    """Let what is started here ignore Ctrl-C, which a terminal sends to all: each process would tell where it was."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start(rank: int, work: Callable[..., None], store: str, folder: str, done: Any, rest: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    done.put(f"process {rank + 1} of {WORLD_SIZE} has begun")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD_SIZE)
    work(rank, Path(folder), done, *rest)
    dist.barrier()  # a rank that leaves while another is still talking to it may abort that one
    # After this, gloo's threads are still there, whatever is destroyed: DDP keeps the process group. One that needs the
    # interpreter while that ends aborts the process ("terminate called without an active exception"), so it never ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


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
            done.put(f"epoch {epoch + 1} of {EPOCHS}, on {WORLD_SIZE} processes under DDP")
            if epoch + 1 == HALFWAY:
                torch.save(model.state_dict(), folder / "ddp_halfway.pth")
    if rank == 0:
        torch.save(model.state_dict(), folder / "ddp.pth")
        torch.save(model.module.state_dict(), folder / "ddp_module.pth")


def _shuffled(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    return inputs[order], labels[order]


def _load(rank: int, folder: Path, done: Any, home: str, *refs: str) -> None:
    got = []
    for ref in refs:
        # The demonstration trains on the CPU, and a GPU would add up in another order.
        model = Registry(home).load(ref, ddp=True, rank=rank, device="cpu")
        assert isinstance(model, DistributedDataParallel)
        state = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
        got.append((state, accuracy(model.module)))
        if rank == 0:
            done.put(f"loaded {ref} under DDP")
    torch.save(got, _of_rank(folder, rank))
