"""The end of a load: that a module still holds the very tensors into which the values were put."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from registry.errors.models import UntouchedTensor
from registry.models.slots import Layout


class Landing:
    """Which tensors received values, by identity and version counter; no byte is read again.

    It is taken when the values are there and asked when everything else is done: extra states were set, hooks have run,
    the module was moved. What replaced a tensor meanwhile, or wrote into one, would leave other values than the entry's.
    What writes through ``.data`` or ``numpy()`` counts no version and is not seen.
    """

    def __init__(self, found: Layout, names: Iterable[str]) -> None:
        self._slots = []
        for name in names:
            owner, key, is_parameter, _ = found.slots[name]
            registry: dict[str, torch.Tensor | None] = owner.__dict__["_parameters" if is_parameter else "_buffers"]
            tensor = registry.get(key)
            self._slots.append((name, registry, key, tensor, _version(tensor)))

    def confirm(self, model: nn.Module, device: torch.device | None = None) -> None:
        """Raise if a tensor is another one now, or was written to.

        Args:
            device: where the module was moved since; a buffer that comes from elsewhere is a new one there.

        Raises:
            UntouchedTensor: naming what was replaced.
        """
        wrong = [
            name
            for name, registry, key, tensor, version in self._slots
            if (now := registry.get(key)) is not tensor
            and not _was_moved(tensor, now, device)
            or now is tensor
            and _version(now) != version
        ]
        if wrong:
            raise UntouchedTensor(type(model).__name__, wrong, "were replaced or changed after they were loaded")


def _version(tensor: torch.Tensor | None) -> int:
    return -1 if tensor is None or tensor.is_inference() else tensor._version


def _was_moved(before: torch.Tensor | None, now: torch.Tensor | None, device: torch.device | None) -> bool:
    if before is None or now is None or device is None:
        return False
    return before.device.type != now.device.type or before.device != now.device
