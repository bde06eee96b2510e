"""What the demonstration shows: each recipe on each file, and the registry on both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from registry.catalog.entry import Entry
from registry.demonstration import training
from registry.demonstration.clouds import BODIES
from registry.demonstration.pointnet import PointNet
from registry.home.home import Home
from registry.registry import Registry
from registry.tensors.memory import same_bits

NAME = "pointnet"
CLASS = f"{PointNet.__module__}:PointNet"
FILES = {"ddp.pth": "model_ddp.state_dict()", "ddp_module.pth": "model_ddp.module.state_dict()"}


@dataclass(frozen=True)
class Attempt:
    """What one way of loading makes of one file."""

    saved: str
    loaded: str
    accuracy: float
    """Part of the held-out clouds that is classified correctly; under DDP on the worse rank."""
    equal: int
    """How many tensors are the trained model's, bit for bit; under DDP on the worse rank."""
    by_registry: bool


@dataclass(frozen=True)
class Outcome:
    """Everything that the demonstration found."""

    trained: float
    """Accuracy of the trained model on the held-out clouds."""
    chance: float
    """Accuracy of a model that guesses."""
    clouds: int
    """How many clouds were held out."""
    tensors: int
    """How many the model has."""
    rows: tuple[Attempt, ...]
    entries: tuple[Entry, ...]
    """One for each file; the second is the first again, since the weights are the same."""
    halfway: Entry
    """What the model was after half of the training."""

    @property
    def is_one_digest(self) -> bool:
        return len({entry.digest for entry in self.entries}) == 1

    @property
    def is_as_promised(self) -> bool:
        """Whether the registry gave back the trained model, bit for bit, from either file and in every place."""
        loaded = [row for row in self.rows if row.by_registry]
        return self.is_one_digest and all(row.equal == self.tensors and row.accuracy == self.trained for row in loaded)


STEPS = 2 * training.WORLD_SIZE + training.EPOCHS + 1 + 3 * len(FILES)
"""How often ``play`` reports: processes, twice, epochs, what is pushed, and what is loaded under DDP and alone."""


def play(folder: Path, report: Callable[[str], None]) -> Outcome:
    """Train, save both ways, load every way, and measure.

    Args:
        folder: the home of the demonstration's registry, where the files go too.
        report: called with what was just done, ``STEPS`` times.

    Raises:
        RegistryError: the folder cannot be used.
    """
    home = Home(folder)
    home.make()  # A folder that cannot be written is refused before the training and not after it.
    home.close()
    registry = Registry(folder)
    training.train(folder, report)
    halfway = _push(registry, folder / "ddp_halfway.pth", training.HALFWAY, report)
    entries = [_push(registry, folder / file, training.EPOCHS, report, aliases=["best"]) for file in FILES]
    truth = torch.load(folder / "ddp_module.pth", weights_only=True)
    under_ddp = training.load_under_ddp(folder, [entry.ref for entry in entries], report)
    rows: list[Attempt] = []
    for (file, saved), entry, ranks in zip(FILES.items(), entries, under_ddp, strict=True):
        checkpoint = torch.load(folder / file, weights_only=True)
        alone = registry.load(entry.ref)
        report(f"loaded {entry.ref} on one device")
        rows += [
            _recipe(saved, "load_state_dict(strict=False)", checkpoint, truth),
            _recipe(saved, 'key.replace("module.", "")', _replaced(checkpoint), truth),
            Attempt(saved, "registry.load(ref)", training.accuracy(alone), _equal(alone.state_dict(), truth), True),
            Attempt(
                saved,
                "registry.load(ref, ddp=True)",
                min(accuracy for _, accuracy in ranks),
                min(_equal(state, truth) for state, _ in ranks),
                True,
            ),
        ]
    trained = PointNet(num_classes=len(BODIES))
    trained.load_state_dict(truth)
    return Outcome(
        trained=training.accuracy(trained),
        chance=1 / len(BODIES),
        clouds=training.HELD_OUT,
        tensors=len(truth),
        rows=tuple(rows),
        entries=tuple(entries),
        halfway=halfway,
    )


def _push(
    registry: Registry, file: Path, epoch: int, report: Callable[[str], None], aliases: Sequence[str] = ()
) -> Entry:
    """Push a file of the training, with what it is worth on the held-out clouds."""
    entry = registry.push(
        file,
        NAME,
        from_="ddp",
        model=CLASS,
        init={"num_classes": len(BODIES)},
        world_size=training.WORLD_SIZE,
        tags={"data": "bodies"},
        note=f"after epoch {epoch}",
    )
    accuracy = training.accuracy(registry.load(entry.ref))
    registry.annotate(entry.ref, metrics={"acc": accuracy, "epoch": epoch})
    for alias in aliases:
        registry.alias(entry.ref, alias)
    report(f"pushed {file.name} as {entry.ref}")
    return entry


def _recipe(saved: str, loaded: str, state: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Attempt:
    torch.manual_seed(3)
    model = PointNet(num_classes=len(BODIES))
    model.load_state_dict(dict(state), strict=False)
    return Attempt(saved, loaded, training.accuracy(model), _equal(model.state_dict(), truth), False)


def _replaced(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("module.", ""): tensor for name, tensor in state.items()}


def _equal(state: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> int:
    # By bits: to `torch.equal` the two zeros are one, and no NaN is itself.
    return sum(name in state and same_bits(state[name], tensor) for name, tensor in truth.items())
