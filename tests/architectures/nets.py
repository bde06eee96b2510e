"""Small models whose names are hard to unwrap."""

from __future__ import annotations

import argparse

import torch
from torch import nn

import registry


@registry.remember
class PointNet(nn.Module):
    """A shared MLP over points of shape (B, 3, N), a maximum, a head; ``submodule`` is an honest name."""

    def __init__(self, num_classes: int = 5, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv1d(3, width, 1), nn.BatchNorm1d(width), nn.ReLU())
        self.submodule = nn.Conv1d(width, width, 1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.submodule(self.features(points)))
        return self.head(hidden.amax(-1))


class NamespaceNet(nn.Module):
    """A constructor that takes one namespace, as most research code has it."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.fc = nn.Linear(args.dim, args.out)


class OnlyChild(nn.Module):
    """Its only child is honestly called ``module``."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.module(inputs)


@registry.remember
class Tied(nn.Module):
    """Embedding and head share one tensor."""

    def __init__(self, tie: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        if tie:
            self.head.weight = self.embed.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(ids))


@registry.remember
class ImageNet(nn.Module):
    """The image branch of a two-branch job."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))
        self.projection = nn.Linear(width, 8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.projection(self.features(image).mean((2, 3)))


class Counting(nn.Module):
    """Keeps a plain value as extra state."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.steps = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def no_model(dim: int) -> int:
    """Return something that is no module."""
    return dim


@registry.remember
class Twins(nn.Module):
    """Two parts of the same shapes, registered in either order."""

    left: nn.Linear
    right: nn.Linear

    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        for name in ("right", "left") if swapped else ("left", "right"):
            setattr(self, name, nn.Linear(3, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.left(inputs) + self.right(inputs)
