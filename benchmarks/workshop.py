"""Where a run works: a temporary folder, the checkpoints in it, and the registries that they are pushed to."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.timing import PAIRS
from registry import Registry


@dataclass(frozen=True)
class Subject:
    """A model class with its arguments."""

    name: str
    target: str
    """``"pkg.mod:Class"``."""
    init: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Build it as people do."""
        module, _, name = self.target.partition(":")
        built: nn.Module = getattr(importlib.import_module(module), name)(**self.init)
        return built


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    gpt: Subject
    resnet: Subject
    small: Subject
    versions: int
    """Stored before listing."""
    pushes: int
    """Of each racing process in a round."""
    worlds: tuple[int, ...]
    """Numbers of ranks to shard over."""
    pairs: int
    """Rounds of every comparison."""
    served: int
    """Bytes that a server sends."""
    requests: int
    """Of all clients together in a round."""
    grown: tuple[int, ...]
    """Numbers of versions, each a multiple of the one before."""
    grown_tensors: tuple[int, ...]
    """Numbers of tensors of a checkpoint."""
    clients: tuple[int, ...]
    """Numbers of processes that use a registry at once, each more than the one before."""
    racers: int
    """Processes that push at once."""


def _scale(
    gpt: Mapping[str, Any],
    resnet: Mapping[str, Any],
    tensors: int,
    versions: int,
    pushes: int,
    worlds: tuple[int, ...] = (2, 4),
    pairs: int = PAIRS,
    *,
    served: int,
    requests: int,
    grown: tuple[int, ...],
    grown_tensors: tuple[int, ...],
    clients: tuple[int, ...],
    racers: int,
) -> Scale:
    return Scale(
        Subject("gpt", "benchmarks.subjects:GPT", gpt),
        Subject("resnet", "benchmarks.subjects:ResNet", resnet),
        Subject("small", "benchmarks.subjects:ManySmall", {"tensors": tensors}),
        versions,
        pushes,
        worlds,
        pairs,
        served,
        requests,
        grown,
        grown_tensors,
        clients,
        racers,
    )


FULL = _scale(
    {"layers": 22, "width": 1024, "vocabulary": 50257}, {}, 10_000, 100_000, 25, served=1 << 30, requests=1_600,
    grown=(1_000, 10_000, 100_000), grown_tensors=(100, 1_000, 10_000, 100_000),
    clients=(1, 4, 16, 64), racers=8,
)  # fmt: skip
"""1.3 GB, 100 MB, 10,000 tensors."""
QUICK = _scale(
    {"layers": 8, "width": 512, "vocabulary": 10_000}, {}, 1_000, 3_000, 5, worlds=(2,), pairs=2,
    served=64 << 20, requests=96, grown=(100, 3_000), grown_tensors=(100, 1_000), clients=(1, 4), racers=4,
)  # fmt: skip
"""120 MB, 100 MB, 1,000 tensors, 3,000 versions; two rounds say whether something is far off, and no more."""
TOY = _scale(
    {"layers": 2, "width": 64, "vocabulary": 100}, {"depths": [1], "width": 8, "classes": 10}, 20, 500, 3, pairs=1,
    served=4 << 20, requests=64, grown=(200, 500), grown_tensors=(20, 40), clients=(1, 2), racers=2,
)  # fmt: skip
"""Only to see that the programs run."""


@dataclass
class Workshop:
    """A folder and what has been prepared in it; the checkpoints are written when they are first asked for."""

    folder: Path
    scale: Scale
    _refs: dict[str, str] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        """Rounds of every comparison."""
        return self.scale.pairs

    @property
    def registry(self) -> Registry:
        """The registry that holds what ``pushed`` pushes."""
        return Registry(self.folder / "home")

    def checkpoint(self, subject: Subject) -> Path:
        """Return a ``.pth`` as training under DDP leaves it: every name behind ``module.``."""
        path = self.folder / f"{subject.name}.pth"
        if not path.exists():
            torch.manual_seed(0)
            torch.save({f"module.{name}": tensor for name, tensor in subject.build().state_dict().items()}, path)
        return path

    def pushed(self, subject: Subject) -> str:
        """Return the reference of a subject in ``registry``, where every load of it was verified before."""
        if subject.name not in self._refs:
            entry = self.registry.push(
                self.checkpoint(subject), subject.name, from_="ddp", model=subject.target, init=dict(subject.init)
            )
            self._refs[subject.name] = entry.ref
            self.registry.load(entry.ref, verify="once")
        return self._refs[subject.name]

    def tensor_bytes(self, subject: Subject) -> int:
        """Return the bytes of the weights, tied ones counted once."""
        return self.registry.get(self.pushed(subject)).byte_count

    def fresh_folder(self, name: str) -> Path:
        """Return an empty folder on the same disk."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


def recipe(subject: Subject, path: Path) -> nn.Module:
    """Build the model and load it as people do by hand."""
    model = subject.build()
    loaded = torch.load(path, map_location="cpu")
    model.load_state_dict({name.replace("module.", ""): tensor for name, tensor in loaded.items()})
    return model.eval()
