"""Two branches that are trained together, and others beside them."""

from __future__ import annotations

from typing import Any

import torch
from nets import ImageNet, PointNet
from torch import nn

import registry


@registry.remember
class Projector(nn.Module):
    """A head that may share its weight with another part, and counts what it has seen in a buffer."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 7, bias=False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))


@registry.remember
class Words(nn.Module):
    """An embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)


class Telling(nn.Module):
    """Has constructor arguments that nothing remembers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 2)


def trained(**options: Any) -> tuple[dict[str, Any], torch.optim.Optimizer]:
    """Return two models after a step of the one optimizer that both have."""
    torch.manual_seed(3)
    parts: dict[str, Any] = {"point": PointNet(num_classes=3), "img": ImageNet(width=6)}
    optimizer = torch.optim.Adam([p for part in parts.values() for p in part.parameters()], **options)
    step(parts, optimizer)
    return parts, optimizer


def step(parts: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Train both for a step."""
    optimizer.zero_grad()
    points, images = torch.ones(2, 3, 7), torch.ones(2, 3, 5, 5)
    (parts["point"](points).square().sum() + parts["img"](images).square().sum()).backward()
    optimizer.step()


def fresh() -> dict[str, Any]:
    """Return two such models that were never trained."""
    torch.manual_seed(8)
    return {"point": PointNet(num_classes=3), "img": ImageNet(width=6)}


def values(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
