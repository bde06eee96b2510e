"""Synthetic point clouds: surfaces of simple bodies, with noise, turned at random."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

POINTS = 128
NOISE = 0.02
"""Standard deviation, where the bodies have a radius of about 1."""


def _sphere(n: int, g: torch.Generator) -> Tensor:
    points = torch.randn(n, 3, generator=g)
    return nn.functional.normalize(points, dim=1)


def _cube(n: int, g: torch.Generator) -> Tensor:
    points = torch.rand(n, 3, generator=g) * 2 - 1
    axis = torch.randint(3, (n,), generator=g)
    side = torch.randint(2, (n,), generator=g) * 2.0 - 1
    return points.scatter(1, axis[:, None], side[:, None]) * 0.7


def _cylinder(n: int, g: torch.Generator) -> Tensor:
    angle = torch.rand(n, generator=g) * 2 * math.pi
    height = torch.rand(n, generator=g) * 2.4 - 1.2
    return torch.stack([angle.cos() * 0.4, angle.sin() * 0.4, height], 1)


def _cone(n: int, g: torch.Generator) -> Tensor:
    angle = torch.rand(n, generator=g) * 2 * math.pi
    height = torch.rand(n, generator=g).sqrt()
    return torch.stack([angle.cos() * height, angle.sin() * height, 1.2 - 2 * height], 1)


def _torus(n: int, g: torch.Generator) -> Tensor:
    around = torch.rand(n, generator=g) * 2 * math.pi
    tube = torch.rand(n, generator=g) * 2 * math.pi
    ring = 1 + 0.25 * tube.cos()
    return torch.stack([around.cos() * ring, around.sin() * ring, 0.25 * tube.sin()], 1)


def _disk(n: int, g: torch.Generator) -> Tensor:
    angle = torch.rand(n, generator=g) * 2 * math.pi
    radius = torch.rand(n, generator=g).sqrt()
    return torch.stack([angle.cos() * radius, angle.sin() * radius, torch.zeros(n)], 1)


BODIES: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "sphere": _sphere,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "disk": _disk,
}


def clouds(count: int, seed: int, points: int = POINTS) -> tuple[Tensor, Tensor]:
    """Return clouds of shape (count, 3, points) and their labels of shape (count,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(BODIES)
    bodies = list(BODIES.values())
    made = [bodies[label](points, generator) @ _rotation(generator) for label in labels.tolist()]
    stacked = torch.stack(made).transpose(1, 2)
    return stacked + NOISE * torch.randn(stacked.shape, generator=generator), labels


def _rotation(generator: torch.Generator) -> Tensor:
    orthogonal, upper = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    rotation: Tensor = orthogonal * upper.diagonal().sign()
    return rotation
