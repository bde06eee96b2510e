"""A small model and its data for the examples; a module of its own, so that a stored class can be imported."""

from __future__ import annotations

import torch
from torch import nn

CLASSES, FEATURES = 4, 8


class Classifier(nn.Module):
    """Two layers over inputs of shape (B, 8)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), nn.BatchNorm1d(width))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(inputs))


def blobs(seed: int, count: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points of shape (count, 8) around the centers of four classes, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    return 2 * torch.eye(CLASSES, FEATURES)[labels] + 0.3 * torch.randn(count, FEATURES, generator=generator), labels
