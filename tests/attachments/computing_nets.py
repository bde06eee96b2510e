"""Models whose outputs have to be looked at in a test of their own."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

import registry


@registry.remember
class Activated(nn.Module):
    """An activation that is no parameter: no name and no byte tells which."""

    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 6)
        self.slope = slope
        self.outer = nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.outer(nn.functional.leaky_relu(self.inner(inputs), self.slope))


@registry.remember
class Scaled(nn.Module):
    """A buffer that is in no state dict."""

    scale: torch.Tensor

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs) * self.scale


class InPlace(nn.Module):
    """Writes to what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs.mul_(2))


class Widened(nn.Module):
    """Computes in bfloat16 and returns float32."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3, dtype=torch.bfloat16)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs.bfloat16()).float()


class AlwaysDropping(nn.Module):
    """Dropout that eval mode does not end."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 64)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(self.inner(inputs), 0.5, training=True)


@dataclasses.dataclass
class Answer:
    """What ``Nested`` returns."""

    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    details: dict[str, object]


class Nested(nn.Module):
    """Keyword inputs, nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, ids: torch.Tensor, weights: torch.Tensor) -> Answer:
        hidden = self.norm(self.embed(ids).mean(1))
        return Answer(hidden @ weights, (hidden, hidden.argmax(-1)), {"count": len(ids), "device": hidden.device})
