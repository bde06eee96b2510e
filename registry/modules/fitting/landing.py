"""The end of a load: that a module still holds the very tensors into which the values were put."""

from __future__ import annotations

import operator
from collections.abc import Iterable

import torch
from torch import nn

from registry.errors.models import UntouchedTensor
from registry.modules.layout import Layout


class Landing:
    """Which tensors received values, by identity and version counter; no byte is read again.

    It is taken when the values are there and asked when everything else is done: extra states were set, hooks have
    run, the module was moved. What replaced a tensor meanwhile, or wrote into one, would leave other values than the
    entry's. What writes through ``.data`` or ``numpy()`` counts no version and is not seen.
    """

    def __init__(self, found: Layout, names: Iterable[str]) -> None:
        slots = found.slots
        self._names = list(names)
        self._places = [
            (owner.__dict__["_parameters" if is_parameter else "_buffers"], key)
            for owner, key, is_parameter, _ in map(slots.__getitem__, self._names)
        ]
        self._tensors = self._now()
        self._versions = list(map(_version, self._tensors))

    def confirm(self, model: nn.Module, device: torch.device | None = None) -> None:
        """Raise if a tensor is another one now, or was written to.

        Args:
            device: where the module was moved since; a buffer that comes from elsewhere is a new one there.

        Raises:
            UntouchedTensor: naming what was replaced.
        """
        now = self._now()
        if all(map(operator.is_, now, self._tensors)) and list(map(_version, now)) == self._versions:
            return
        was = zip(self._names, self._tensors, self._versions, now, strict=True)
        wrong = [name for name, before, version, after in was if not _is_same(before, version, after, device)]
        if wrong:
            raise UntouchedTensor(type(model).__name__, wrong, "were replaced or changed after they were loaded")

    def _now(self) -> list[torch.Tensor | None]:
        return [registry.get(key) for registry, key in self._places]


def _version(tensor: torch.Tensor | None) -> int:
    try:
        return tensor._version if tensor is not None else -1
    except RuntimeError:  # tensors of inference mode count no versions
        return -1


def _is_same(before: torch.Tensor | None, version: int, now: torch.Tensor | None, device: torch.device | None) -> bool:
    if now is before:
        return _version(now) == version
    return before is not None and now is not None and device is not None and before.device != now.device
