"""Models that are particular about how they are constructed."""

from __future__ import annotations

import argparse
import enum
from itertools import pairwise
from typing import Any

import torch
from torch import nn

import registry


class Layout(enum.IntEnum):
    """Also an int, and not only an int."""

    CHANNELS_LAST = 2


class Scaled(nn.Module):
    """What it is constructed with is in no tensor."""

    def __init__(self, value: Any = 1) -> None:
        super().__init__()
        self.value = value
        self.fc = nn.Linear(2, 2)


class Plain(nn.Module):
    """There is only one way to construct it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)


class Dgcnn(nn.Module):
    """Takes the parsed command line, and one argument beside it."""

    def __init__(self, args: argparse.Namespace, classes: int = 40) -> None:
        super().__init__()
        self.args, self.classes = args, classes
        self.fc = nn.Linear(args.k, classes)
        self.dropout = nn.Dropout(args.dropout)


class Pyramid(nn.Module):
    """Takes as many widths as one likes, which have no names."""

    def __init__(self, *widths: int, bias: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, bias) for a, b in pairwise(widths))


@registry.remember
class Emptying(nn.Module):
    """Takes its settings out of the dict that it is given."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.power = settings.pop("power", 1)
        settings.setdefault("seen", []).append(self.power)
        self.fc = nn.Linear(2, 2)


@registry.remember
class Base(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)


class Derived(Base):
    """Not decorated itself, with arguments of its own."""

    def __init__(self, *, gain: float, shape: tuple[int, ...] = (2,)) -> None:
        super().__init__(len(shape) + 1)
        self.gain, self.shape = gain, shape


class Inheriting(Derived):
    """Has no constructor of its own."""


class Computing(Derived):
    """Is given what cannot be stored."""

    def __init__(self, activation: Any = torch.relu) -> None:
        super().__init__(gain=2.0)
        self.activation = activation


class Client(nn.Module):
    """Takes a credential, and words of a vocabulary."""

    def __init__(self, width: int = 2, hf_token: Any = None, mask_token: str = "[M]", options: Any = None) -> None:
        super().__init__()
        self.hf_token, self.mask_token, self.options = hf_token, mask_token, options
        self.fc = nn.Linear(width, 2)


class Extra(nn.Module):
    """Keeps a value in its state dict that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.extra: Any = None

    def get_extra_state(self) -> Any:
        return {"value": self.extra}

    def set_extra_state(self, state: Any) -> None:
        self.extra = state["value"]
