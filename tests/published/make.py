"""Write the small checkpoints of this folder that nobody published: ``python tests/published/make.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

HERE = Path(__file__).parent
LEGACY = {"_use_new_zipfile_serialization": False}


class Squeeze(nn.Module):
    """A block with a part that is honestly called ``se_module``, and another name for its first layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.bn = nn.BatchNorm2d(width)
        self.se_module = nn.Sequential(nn.Linear(width, 2), nn.Linear(2, width))
        self.stem = nn.Sequential(self.conv, self.bn)


class Crystal(nn.Module):
    def __init__(self, elements: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(elements, width)
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, 1)

    def forward(self, atoms: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(atoms)
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        return self.out(self.dropout(hidden))


def wrapped(path: Path) -> None:
    """Save what a training on several GPUs leaves, in the format before torch 1.6, as from ``cuda:2``."""
    state = dict(nn.DataParallel(Squeeze(4)).state_dict())
    told = torch.serialization.location_tag
    torch.serialization.location_tag = lambda storage: "cuda:2"
    try:
        torch.save({"state_dict": state, "best_prec1": 91.5, "epoch": 120}, path, **LEGACY)
    finally:
        torch.serialization.location_tag = told


def training(path: Path) -> None:
    """Save a whole training: the weights two levels down, with their arguments, optimizer and scheduler."""
    arguments: dict[str, Any] = {"elements": 9, "width": 6, "dropout": 0.1}
    model = Crystal(**arguments)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    model(torch.arange(9)).square().mean().backward()
    optimizer.step()
    scheduler.step()
    torch.save(
        {
            "model": {"model_args": arguments, "state_dict": model.state_dict()},
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "training_history": {"train": [0.5], "val": [0.625]},
        },
        path,
    )


def pickled_module(path: Path) -> None:
    """Save an object instead of its tensors, of a module that is not there any more."""
    sys.modules["vanished"] = ModuleType("vanished")
    cls = type("Net", (nn.Linear,), {"__module__": "vanished"})
    sys.modules["vanished"].Net = cls  # type: ignore[attr-defined]
    torch.save({"epoch": 50, "model": cls(2, 2)}, path, **LEGACY)


def program(path: Path) -> None:
    """Save a TorchScript program."""
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))


if __name__ == "__main__":
    torch.manual_seed(0)
    wrapped(HERE / "wrapped.th")
    training(HERE / "training.pth.tar")
    pickled_module(HERE / "module_epoch50.pth")
    program(HERE / "program.jit")
