"""Classes that read their state dict in their own way: by hooks, by `_load_from_state_dict`, by `load_state_dict`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Renamed(nn.Module):
    """Called its first layer `stem` in an earlier release, and reads files of that."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.norm, self.head = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.register_load_state_dict_pre_hook(self._of_earlier_releases)

    @staticmethod
    def _of_earlier_releases(module: nn.Module, state: dict[str, Any], prefix: str, *rest: object) -> None:
        for name in [name for name in state if name.startswith(f"{prefix}stem.")]:
            state[f"{prefix}encoder.{name.removeprefix(f'{prefix}stem.')}"] = state.pop(name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.encoder(x)))


class Positions(nn.Module):
    """Once kept a table of positions that it computes now, and drops it from files that have it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state.pop(f"{prefix}position_ids", None)
        super()._load_from_state_dict(state, prefix, *rest)


class Bank(nn.Module):
    """Remembers as many rows as it has met."""

    def __init__(self, rows: int = 0) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.register_buffer("rows", torch.randn(rows, 3))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        if f"{prefix}rows" in state:
            self.get_buffer("rows").resize_(state[f"{prefix}rows"].shape)
        super()._load_from_state_dict(state, prefix, *rest)


class Adopting(nn.Module):
    """Takes a tensor of the file for its own before all are copied, as the observers of histograms do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.register_buffer("least", torch.tensor(torch.inf))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        if f"{prefix}least" in state:
            self.least = state[f"{prefix}least"]
        super()._load_from_state_dict(state, prefix, *rest)


class Split(nn.Module):
    """Has three layers for what was one."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(3, 3, bias=False) for _ in range(3))
        self.register_load_state_dict_pre_hook(self._of_one)

    @staticmethod
    def _of_one(module: nn.Module, state: dict[str, Any], prefix: str, *rest: object) -> None:
        if f"{prefix}qkv.weight" in state:
            for name, part in zip("qkv", state.pop(f"{prefix}qkv.weight").chunk(3), strict=True):
                state[f"{prefix}{name}.weight"] = part


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


class Completing(Two):
    """Takes what a file lacks from itself, so that strict loading complains of nothing."""

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, tensor in self.state_dict().items():
            state.setdefault(prefix + name, tensor)
        super()._load_from_state_dict(state, prefix, *rest)


class Picking(Two):
    """Copies what it finds under its own names and says nothing of the rest."""

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        own = self.state_dict()
        for name in own.keys() & state.keys():
            own[name].copy_(state[name])


class Zeroing(Two):
    """Begins with a head of zeros where a file has none."""

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, tensor in self.head.state_dict().items():
            state.setdefault(f"{prefix}head.{name}", torch.zeros_like(tensor))
        super()._load_from_state_dict(state, prefix, *rest)


class Doubling(Two):
    """Writes into the tensors that it is given."""

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state[f"{prefix}body.weight"].mul_(2)
        super()._load_from_state_dict(state, prefix, *rest)


class OneWay(Two):
    """Gives its state dict names under which it does not take it back."""

    def state_dict(self, *args: Any, **options: Any) -> Any:
        return {f"net.{name}": tensor for name, tensor in super().state_dict(*args, **options).items()}


class Listed(nn.ModuleList):
    """A list of layers that computes nothing itself, which FSDP2 refuses to shard."""

    def __init__(self) -> None:
        super().__init__([nn.Linear(2, 2)])
