"""Pairs for the pre-training: a cloud of points seen twice, and an image of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from registry.demonstration.clouds import clouds

POINTS, PIXELS = 96, 16


def augmented(points: Tensor) -> Tensor:
    """Return clouds turned, scaled and jittered at random."""
    turned, _ = torch.linalg.qr(torch.randn(len(points), 3, 3))
    scale = torch.empty(len(points), 1, 1).uniform_(0.9, 1.1)
    return turned @ points * scale + 0.01 * torch.randn_like(points)


def rendered(points: Tensor) -> Tensor:
    """Return images of shape (B, 1, 16, 16): how many points each pixel sees from above."""
    pixels = ((points[:, :2] + 1.5) / 3 * PIXELS).long().clamp(0, PIXELS - 1)
    images = torch.zeros(len(points), PIXELS * PIXELS)
    images.scatter_add_(1, pixels[:, 0] * PIXELS + pixels[:, 1], torch.ones(len(points), points.shape[-1]))
    return images.view(-1, 1, PIXELS, PIXELS).clamp(max=4) / 4


def unlabeled(count: int, seed: int) -> Tensor:
    """Return clouds of shape (count, 3, 96) without their labels."""
    return clouds(count, seed, points=POINTS)[0]


def contrastive_loss(first: Tensor, second: Tensor, temperature: float = 0.3) -> Tensor:
    """Return how badly the rows of two matrices find their partners among all rows (NT-Xent)."""
    both = nn.functional.normalize(torch.cat([first, second]), dim=1)
    similarity = (both @ both.T / temperature).fill_diagonal_(-torch.inf)
    partners = torch.arange(len(both)).roll(len(first))
    return nn.functional.cross_entropy(similarity, partners)
