"""What the demonstration shows: each recipe on each file, and the registry on both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from registry.catalog.entry import Entry
from registry.demonstration import training
from registry.demonstration.clouds import BODIES
from registry.demonstration.pointnet import PointNet
from registry.registry import Registry

NAME = "pointnet"
CLASS = "registry.demonstration.pointnet:PointNet"
FILES = {"ddp.pth": "model_ddp.state_dict()", "ddp_module.pth": "model_ddp.module.state_dict()"}


@dataclass(frozen=True)
class Row:
    """What one way of loading makes of one file."""

    saved: str
    loaded: str
    accuracy: float
    tensors: int
    """How many have the trained model's values, bit for bit."""


@dataclass(frozen=True)
class Outcome:
    """Everything that the demonstration found."""

    trained: float
    """Accuracy of the trained model on the held-out clouds."""
    tensors: int
    """Tensors in the model."""
    rows: tuple[Row, ...]
    entries: tuple[Entry, ...]
    """One for each file; the second is the first again, since the weights are the same."""


def play(folder: Path, home: Path, report: Callable[[int, int], None]) -> Outcome:
    """Train, save both ways, load every way, and measure.

    Args:
        folder: where the two files go.
        home: of the registry.
        report: called with (epochs done, epochs in all).
    """
    training.train(folder, report)
    registry = Registry(home)
    entries = [
        registry.push(
            folder / file,
            NAME,
            from_="ddp",
            model=CLASS,
            init={"num_classes": len(BODIES)},
            world_size=training.WORLD_SIZE,
        )
        for file in FILES
    ]
    truth = torch.load(folder / "ddp_module.pth", weights_only=True)
    under_ddp = training.load_under_ddp(folder, home, [entry.ref for entry in entries])
    rows = []
    for (file, saved), entry, ranks in zip(FILES.items(), entries, under_ddp, strict=True):
        checkpoint = torch.load(folder / file, weights_only=True)
        alone = registry.load(entry.ref)
        rows += [
            _recipe(saved, "load_state_dict(strict=False)", checkpoint, truth),
            _recipe(saved, 'key.replace("module.", "")', _replaced(checkpoint), truth),
            Row(saved, "registry.load(ref)", training.accuracy(alone), _equal(alone.state_dict(), truth)),
            Row(saved, "registry.load(ref, ddp=True), 2 ranks", ranks["accuracy"], _equal(ranks["state"], truth)),
        ]
    model = PointNet(num_classes=len(BODIES))
    model.load_state_dict(truth)
    return Outcome(training.accuracy(model), len(truth), tuple(rows), tuple(entries))


def _recipe(saved: str, loaded: str, state: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Row:
    torch.manual_seed(3)
    model = PointNet(num_classes=len(BODIES))
    model.load_state_dict(dict(state), strict=False)
    return Row(saved, loaded, training.accuracy(model), _equal(model.state_dict(), truth))


def _replaced(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("module.", ""): tensor for name, tensor in state.items()}


def _equal(state: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> int:
    return sum(name in state and torch.equal(state[name], tensor) for name, tensor in truth.items())
