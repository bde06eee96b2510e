"""The two branches, after CrossPoint (Afham et al., CVPR 2022), small enough for two cores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEATURES, INVARIANT = 96, 48


class PointEncoder(nn.Module):
    """Clouds of shape (B, 3, N) to features (B, 96) and their projections (B, 48) into the common space."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.shared = nn.Sequential(
            nn.Conv1d(3, width, 1),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, FEATURES, 1),
            nn.BatchNorm1d(FEATURES),
        )
        self.inv_head = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, INVARIANT))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        features = self.shared(points).amax(-1)
        return features, self.inv_head(features)


class ImageEncoder(nn.Module):
    """Images of shape (B, 1, 16, 16) to features (B, 96) and their projections (B, 48) into the common space."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, FEATURES, 3, stride=2, padding=1),
            nn.BatchNorm2d(FEATURES),
            nn.ReLU(),
        )
        self.inv_head = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, INVARIANT))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images).mean((2, 3))
        return features, self.inv_head(features)


class Classifier(nn.Module):
    """A pre-trained point encoder with a head for shapes."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.encoder = PointEncoder(width)
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(torch.relu(self.encoder(points)[0]))
