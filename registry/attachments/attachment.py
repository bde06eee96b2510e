"""What is kept beside the weights of a version: its training state, an example with its outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.errors.training import InvalidStateName
from registry.tensors.decoding import decode
from registry.tensors.encoding import encode_all
from registry.tensors.manifest import Manifest, StoredTensor
from registry.tensors.source import TensorSource

if TYPE_CHECKING:
    import torch

    from registry.attachments.stateful import Stateful


OWN = "state."
"""Before the user's names where they are stored: none of ours has a dot, be it one to come."""

STATEFUL = ("optimizer", "scheduler", "scaler")
"""What has a state and a name of ours."""

_OURS = (*STATEFUL, "step", "epoch", "rng")
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True)
class Job:
    """What surrounds the model in a training loop, as ``push`` and ``resume`` take it."""

    optimizer: torch.optim.Optimizer | None = None
    scheduler: Stateful | None = None
    scaler: Stateful | None = None
    step: int | None = None
    epoch: int | None = None
    state: Mapping[str, Stateful] = field(default_factory=dict)
    """What else there is, by the user's names."""

    def __post_init__(self) -> None:
        """Check the user's names.

        Raises:
            InvalidStateName
        """
        for name in self.state:
            if name in _OURS or not re.fullmatch(_NAME, name):
                raise InvalidStateName(name, name in _OURS)

    @property
    def parts(self) -> dict[str, Stateful]:
        """The objects with a state, by what they are stored as: those with names of the user's apart from ours."""
        named = {"optimizer": self.optimizer, "scheduler": self.scheduler, "scaler": self.scaler}
        ours = {part: owner for part, owner in named.items() if owner is not None}
        return {**ours, **{f"{OWN}{name}": owner for name, owner in self.state.items()}}


@dataclass(frozen=True)
class Attachment:
    """Tensors and plain values that a push brings besides the weights; loading the weights never reads them."""

    tensors: Mapping[str, TensorSource] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    def manifest(self, stored: Mapping[str, StoredTensor]) -> Manifest:
        """Return the document's content, now that its tensors have places.

        Raises:
            UnencodableValue: a value has no plain form.
        """
        return Manifest(stored, values=encode_all(self.values, typed=True))


@dataclass(frozen=True)
class StoredAttachment:
    """An attachment as it comes out of the store."""

    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]


def values_of(manifest: Manifest) -> dict[str, Any]:
    """Return the plain values of an attachment's manifest."""
    return {name: decode(value) for name, value in manifest.values.items()}
