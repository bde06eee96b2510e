"""A module as it was before weights were put into it, to go back to."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.models.bits import same_bits
from registry.models.shards import local
from registry.models.skipping import exchange
from registry.models.slots import layout


class _Tensor(NamedTuple):
    tensor: torch.Tensor
    memory: torch.Tensor
    """The same memory, under an object of its own: what a cast replaces."""
    values: torch.Tensor | None
    """A copy; None where the tensor is on meta and has none."""


class _Owner(NamedTuple):
    module: nn.Module
    attributes: dict[str, Any]
    registries: dict[str, dict[str, Any]]
    extra_state: Any


class Snapshot:
    """Copies of all tensors and extra states of a module, taken before the first of them is changed."""

    def __init__(self, module: nn.Module) -> None:
        found = layout(module)
        self._tensors = [_remembered(tensor) for tensor in _tensors(module)]
        self._owners = [_Owner(*_state(owner)) for owner in found.extra_states.values()]

    def restore(self) -> None:
        """Make the module bit for bit what it was."""
        for owner in self._owners:
            with suppress(Exception):  # it may be what raised; the attributes are put back below
                owner.module.set_extra_state(owner.extra_state)
            owner.module.__dict__.clear()
            owner.module.__dict__.update(owner.attributes)
            for name, registry in owner.registries.items():
                getattr(owner.module, name).clear()
                getattr(owner.module, name).update(registry)
        with torch.no_grad():
            for tensor, memory, values in self._tensors:
                if values is None:
                    if not tensor.is_meta:
                        exchange(tensor, memory)
                    continue
                if tensor.data_ptr() != memory.data_ptr() or tensor.dtype != memory.dtype:
                    tensor.data = memory
                if not same_bits(tensor, values):
                    tensor.copy_(values)


@contextmanager
def undone_on_failure(model: nn.Module | None) -> Iterator[None]:
    """Give the caller's model its own tensors back if what is done inside raises."""
    if model is None:
        yield
        return
    before = Snapshot(model)
    try:
        yield
    except BaseException:
        before.restore()
        raise


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    tensors = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
    return [local(tensor) for tensor in tensors.values() if not is_lazy(tensor)]


def _remembered(tensor: torch.Tensor) -> _Tensor:
    return _Tensor(tensor, tensor.detach(), None if tensor.is_meta else tensor.detach().clone())


def _state(owner: nn.Module) -> tuple[nn.Module, dict[str, Any], dict[str, dict[str, Any]], Any]:
    registries = {name: dict(getattr(owner, name)) for name in ("_parameters", "_buffers", "_modules")}
    return owner, dict(owner.__dict__), registries, copy.deepcopy(owner.get_extra_state())
