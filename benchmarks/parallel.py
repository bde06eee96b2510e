"""Two ranks of one node: the registry's load under DDP against the recipe on both."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import children
from benchmarks.row import Row, at_least
from benchmarks.workshop import Subject, Workshop, recipe

if TYPE_CHECKING:
    from torch import nn

RANKS = 2
LIMIT = "hashing on both ranks, and DDP's own buffers, as large as the gradients"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Load on both ranks to a wrapped module."""
    what, against = f"DDP load on {RANKS} ranks, to wrapped", "the recipe and DDP on both ranks"
    if sys.platform == "win32":
        yield Row("parallel", what, against, at_least(5), skipped="needs gloo over a file")
        return
    subject = workshop.scale.gpt
    ref, path = workshop.pushed(subject), workshop.checkpoint(subject)
    meeting = workshop.fresh_folder("ranks") / "meeting"
    ranks = [
        children.start(
            "benchmarks.parallel:measure",
            rank=rank,
            meeting=str(meeting),
            home=str(workshop.registry.home),
            ref=ref,
            path=str(path),
            target=subject.target,
            init=dict(subject.init),
            times=workshop.pairs,
        )
        for rank in range(RANKS)
    ]
    results = [children.result(rank) for rank in ranks]
    ours, theirs = (
        tuple(max(pair) for pair in zip(*(result[side] for result in results), strict=True))
        for side in ("ours", "theirs")
    )
    share = max(result["own share of pages"] for result in results)
    yield Row(
        "parallel", what, against, at_least(5), "s", ours, theirs,
        remark=f"{'pages shared' if share < 0.75 else 'pages NOT shared'}: each rank bears {share:.2f} of a copy",
        limit=LIMIT,
    )  # fmt: skip


def measure(
    rank: int, meeting: str, home: str, ref: str, path: str, target: str, init: dict[str, Any], times: int
) -> dict[str, Any]:
    """Run both sides in turn on one rank and return the seconds."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from registry import Registry

    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=RANKS, timeout=timedelta(minutes=2)
    )
    registry, subject = Registry(home), Subject("subject", target, init)
    ours, theirs, share = [], [], 1.0

    def both() -> None:
        nonlocal share
        dist.barrier()
        begin = time.perf_counter()
        model: nn.Module | None = DistributedDataParallel(recipe(subject, Path(path)).train())
        theirs.append(time.perf_counter() - begin)
        model = None
        gc.collect()
        dist.barrier()
        begin = time.perf_counter()
        model = registry.load(ref, ddp=True)
        ours.append(time.perf_counter() - begin)
        dist.barrier()
        share = own_share(home)
        dist.barrier()
        del model
        gc.collect()

    for _ in range(times):
        both()
    dist.destroy_process_group()
    return {"ours": ours, "theirs": theirs, "own share of pages": share}


def own_share(home: str) -> float:
    """Return which part of the resident pages of the blobs this process bears: one half where two share all."""
    resident = proportional = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, _, value = line.partition(":")
        if "-" in key and " " in key:
            inside = home in line
        elif inside and key == "Rss":
            resident += int(value.split()[0])
        elif inside and key == "Pss":
            proportional += int(value.split()[0])
    return proportional / resident if resident else 1.0
