"""Models that remember how they were constructed, to be changed afterwards."""

from __future__ import annotations

import torch
from torch import nn

import registry


@registry.remember
class Classifier(nn.Module):
    """A body and a head."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(x))


class Deeper(Classifier):
    """Goes on after the constructor that its base has."""

    def __init__(self, num_classes: int = 1000, depth: int = 2) -> None:
        super().__init__(num_classes)
        self.more = nn.ModuleList(nn.Linear(2, 2) for _ in range(depth))


@registry.remember
class Language(nn.Module):
    """Has one tensor under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


@registry.remember
class Lazy(nn.Module):
    """Learns the width of its input when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.LazyLinear(3)


class Adapter(nn.Module):
    """What adds a few parameters to a layer."""

    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.zeros(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
