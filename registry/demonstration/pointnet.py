"""A small PointNet (after Qi et al., "PointNet: Deep Learning on Point Sets", CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PointNet(nn.Module):
    """Classify point clouds of shape (batch, 3, points): a shared MLP, a maximum over the points, a head.

    ``submodule`` is an honest name, which the usual recipe ``key.replace("module.", "")`` damages.
    """

    def __init__(self, num_classes: int = 6, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(3, width, 1), nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, 2 * width, 1)
        )
        self.submodule = nn.Sequential(
            nn.BatchNorm1d(2 * width), nn.ReLU(), nn.Conv1d(2 * width, 4 * width, 1), nn.BatchNorm1d(4 * width)
        )
        self.head = nn.Sequential(nn.Linear(4 * width, width), nn.ReLU(), nn.Linear(width, num_classes))

    def forward(self, points: Tensor) -> Tensor:
        """Return logits of shape (batch, num_classes)."""
        scores: Tensor = self.head(torch.relu(self.submodule(self.features(points))).amax(-1))
        return scores
