"""Fine-tunes of one base with a frozen backbone: bytes on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.row import Row, at_most
from benchmarks.workshop import Workshop
from registry import Registry

FINE_TUNES = 10
LIMIT = "headers of the blobs, manifests, and the database"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Push a base and its fine-tunes and weigh the home."""
    registry = Registry(workshop.fresh_folder("deduplication"))
    base = workshop.scale.resnet.build()
    weights = base.state_dict()
    registry.push(weights, "base", from_="single")
    head = {name: tensor for name, tensor in weights.items() if name.startswith("head.")}
    for number in range(FINE_TUNES):
        tuned = {name: tensor + (number + 1) / 1000 for name, tensor in head.items()}
        registry.push({**weights, **tuned}, "tuned", from_="single", parent="base:v1")
    registry.catalog.close()
    needed = _nbytes(weights) + FINE_TUNES * _nbytes(head)
    stored = sum(file.stat().st_size for file in Path(registry.home).rglob("*") if file.is_file())
    shutil.rmtree(registry.home)
    yield Row(
        "deduplication", f"{FINE_TUNES} fine-tunes with a frozen backbone, bytes on disk", "one base and the heads",
        at_most(1.05), "MB", (stored / 1e6,), (needed / 1e6,), limit=LIMIT,
    )  # fmt: skip


def _nbytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
