"""What is kept beside the weights of a version: its training state, an example with its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.tensors.decoding import decode
from registry.tensors.encoding import encode_all
from registry.tensors.manifest import Manifest, StoredTensor
from registry.tensors.source import TensorSource

if TYPE_CHECKING:
    import torch

    from registry.attachments.stateful import Stateful


@dataclass(frozen=True)
class Job:
    """What surrounds the model in a training loop, as ``push`` and ``resume`` take it."""

    optimizer: torch.optim.Optimizer | None = None
    scheduler: Stateful | None = None
    scaler: Stateful | None = None
    step: int | None = None
    epoch: int | None = None

    @property
    def parts(self) -> dict[str, Stateful]:
        """The objects with a state, by what they are called."""
        named = {"optimizer": self.optimizer, "scheduler": self.scheduler, "scaler": self.scaler}
        return {part: owner for part, owner in named.items() if owner is not None}


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
