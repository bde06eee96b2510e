"""Memory of each rank after a load under FSDP2, against what is in use where nothing is sharded."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks import children
from benchmarks.row import Row, at_most
from benchmarks.workshop import Workshop

if TYPE_CHECKING:
    from registry import Registry

LIMIT = "the largest layer before it is divided, and what Python and the process group keep"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Load on 2 and on 4 ranks; the worst rank counts."""
    for world in workshop.scale.worlds:
        what = f"memory of a rank after a load under FSDP, {world} ranks"
        against, goal = f"bytes of the tensors by {world}", at_most(1.1)
        if sys.platform == "win32" or not children.can_measure_memory():
            yield Row("sharding", what, against, goal, "MB", skipped="the system does not tell RssAnon")
            continue
        subject = workshop.scale.gpt
        ref, folder = workshop.pushed(subject), workshop.fresh_folder("sharding")
        ranks = [
            children.start(
                "benchmarks.sharding:held_after_loads",
                rank=rank,
                world=world,
                meeting=str(folder / "meeting"),
                home=str(workshop.registry.home),
                ref=ref,
                times=workshop.pairs,
            )
            for rank in range(world)
        ]
        figures = zip(*(children.result(rank) for rank in ranks), strict=True)
        worst = tuple(max(held) / 1e6 for held in figures)
        part = (workshop.tensor_bytes(subject) / 1e6 / world,) * workshop.pairs
        yield Row("sharding", what, against, goal, "MB", worst, part, limit=LIMIT)


def held_after_loads(rank: int, world: int, meeting: str, home: str, ref: str, times: int) -> list[int]:
    """Return what some loads leave in use on one rank, in bytes: its shards are copies, the rest stays in the blob."""
    import torch.distributed as dist

    from registry import Registry

    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    registry = Registry(home)
    registry.load(ref, fsdp=True)  # what is imported and made once
    held = [_held(registry, ref) for _ in range(times)]
    dist.barrier()
    dist.destroy_process_group()
    return held


def _held(registry: Registry, ref: str) -> int:
    before = _in_use()
    model = registry.load(ref, fsdp=True)
    held = _in_use() - before
    del model
    return held


def _in_use() -> int:
    gc.collect()
    children.give_back_freed_memory()
    return children.anonymous_bytes()
