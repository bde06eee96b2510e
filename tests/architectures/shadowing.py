"""Models that call their own things as ``torch.nn.Module`` calls its methods."""
# mypy: disable-error-code="assignment, attr-defined, index, method-assign, override"

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Lists(nn.Module):
    """A list of what to run, as ESPNet has it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.modules = list(self.encoder)
        self.parameters = {"rate": 2.0}
        self.named_buffers = ()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for part in self.modules:
            inputs = part(inputs)
        return inputs * self.parameters["rate"]


class Inside(nn.Module):
    """The same deeper down, where torch itself asks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Lists()
        self.inner.state_dict = {"version": 2}
        self.inner.named_modules = self.inner.children = 3

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs)


class OfTheClass(nn.Module):
    """Attributes, properties and methods of the class."""

    state_dict = None
    buffers = ("a", "b")

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)

    @property
    def modules(self) -> list[nn.Module]:
        return [self.fc]

    def parameters(self, group: str) -> Any:
        raise AssertionError(f"{group} was asked for")

    def children(self) -> int:
        return 2

    def train(self, batches: list[torch.Tensor], epochs: int) -> None:
        raise AssertionError("a training was begun")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.fc(inputs))


class Flags(nn.Module):
    """Truth values, and a module called ``training``."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.train = self.eval = True
        self.training = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.training[0](self.norm(inputs))


class Frozen(nn.Module):
    """Its own way of changing the mode is to be respected."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.children = []

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.train(True)
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.norm(inputs)
