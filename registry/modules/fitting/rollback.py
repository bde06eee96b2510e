"""A module as it was before weights were put into it, to go back to."""

from __future__ import annotations

import copy
import operator
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.modules import anatomy
from registry.modules.fitting.memory import is_given_up
from registry.modules.layout import Layout, layout, owned
from registry.ranks.shards import is_shard, local
from registry.tensors.memory import same_bits, swap_contents

_CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)
"""Attributes that are changed in place as a rule, torch's own registries and hooks among them."""


class _Tensor(NamedTuple):
    tensor: torch.Tensor
    memory: torch.Tensor
    """The same memory, under an object of its own: what a cast replaces."""
    values: torch.Tensor | None
    """A copy; None where the tensor is on meta and has none."""


class _Traits(NamedTuple):
    """What a tensor object is beside its values."""

    tensor: torch.Tensor
    kind: type[torch.Tensor]
    attributes: dict[str, Any]
    requires_grad: bool
    gradient: torch.Tensor | None
    gradients: torch.Tensor | None
    """A copy of its gradient's values."""
    lazy: torch.Tensor | None
    """The empty memory of a lazy one."""


class _Module(NamedTuple):
    module: nn.Module
    kind: type[nn.Module]
    attributes: dict[str, Any]
    contents: list[tuple[Any, Any]]
    """Containers among the attributes, and shallow copies of them."""


class Snapshot:
    """What a module is, taken before anything of it is changed.

    Values are copied, always. Where code of the model's own takes part (a loading of its own, hooks, extra states), so
    is everything else that such code reaches as a rule, of every submodule: attributes, registries, hooks, lazy
    parameters, gradients, and the contents of dicts, lists and sets that are attributes. What lies deeper, such as an
    attribute of an attribute, is not covered.

    Args:
        thorough: copy all of that in any case, because other code is going to run.
    """

    def __init__(self, module: nn.Module, found: Layout | None = None, *, thorough: bool = False) -> None:
        found = found or layout(module)
        extra_states = [p for p in (*found.extra_states.values(), *owned(found).values()) if isinstance(p, nn.Module)]
        self._modules: list[_Module] = []
        self._traits: list[_Traits] = []
        tensors = {id(tensor): tensor for tensor in anatomy.tensors(module)}
        if thorough or found.custom or extra_states:
            parts = [part for _, part in anatomy.parts(module)]
            self._modules = [_attributes(part) for part in parts]
            self._traits = [_traits(tensor) for tensor in tensors.values()]
            tensors |= {id(v): v for part in parts for v in part.__dict__.values() if _is_readable(v)}
        values = (local(tensor) for tensor in tensors.values() if not is_lazy(tensor))
        self._tensors = [_remembered(tensor) for tensor in values if not is_given_up(tensor)]
        self._extra_states = [
            (owner, copy.deepcopy(anatomy.method(owner, "get_extra_state")())) for owner in extra_states
        ]

    def restore(self) -> None:
        """Make the module bit for bit what it was."""
        for owner, state in self._extra_states:
            with suppress(Exception):  # it may be what raised; the attributes are put back below
                owner.set_extra_state(state)
        for module, kind, attributes, contents in self._modules:
            module.__class__ = kind
            _refill(module.__dict__, attributes)
            for container, was in contents:
                _refill(container, was)
        with torch.no_grad(), ExitStack() as stack:  # which goes on where one of them raises, and raises at the end
            for traits in reversed(self._traits):
                stack.callback(_restore_traits, traits)
            for remembered in reversed(self._tensors):
                stack.callback(_restore_values, *remembered)


@contextmanager
def undone_on_failure(model: nn.Module | None, found: Layout | None = None, *, thorough: bool = True) -> Iterator[None]:
    """Give the caller's model its own tensors and attributes back if what is done inside raises, or is interrupted.

    Args:
        found: its layout, where that is known.
        thorough: as of a ``Snapshot``.
    """
    if model is None:
        yield
        return
    before = Snapshot(model, found, thorough=thorough)
    try:
        yield
    except BaseException:
        before.restore()
        raise


def _is_readable(value: object) -> bool:
    """Whether an attribute is a tensor that can be read; FSDP keeps views of memory that it has given up."""
    if not isinstance(value, torch.Tensor) or is_lazy(value) or value.layout != torch.strided:
        return False
    return is_shard(value) or not is_given_up(value)


def _remembered(tensor: torch.Tensor) -> _Tensor:
    return _Tensor(tensor, tensor.detach(), None if tensor.is_meta else tensor.detach().clone())


def _attributes(module: nn.Module) -> _Module:
    attributes = dict(module.__dict__)
    contents = [(value, copy.copy(value)) for value in attributes.values() if type(value) in _CONTAINERS]
    return _Module(module, type(module), attributes, contents)


def _refill(container: Any, was: Any) -> None:
    """Give a container its contents back, in their order; the object stays, since others may hold it."""
    refill: Callable[[Any], None] = container.update if isinstance(container, (dict, set)) else container.extend
    is_same = len(container) == len(was) and all(map(operator.is_, container, was))
    if is_same and isinstance(container, dict):
        is_same = all(map(operator.is_, container.values(), was.values()))
    if not is_same:
        container.clear()
        refill(was)


def _traits(tensor: torch.Tensor) -> _Traits:
    lazy = _data(tensor) if is_lazy(tensor) else None
    gradient = tensor.grad if lazy is None and tensor.is_leaf else None
    dense = gradient is not None and gradient.layout == torch.strided
    return _Traits(
        tensor,
        type(tensor),
        dict(tensor.__dict__),
        tensor.requires_grad,
        gradient,
        local(gradient).detach().clone() if gradient is not None and dense else None,
        lazy,
    )


def _data(tensor: torch.Tensor) -> torch.Tensor:
    with torch._C.DisableTorchFunctionSubclass():  # a lazy parameter refuses nearly everything
        return tensor.data


def _restore_traits(traits: _Traits) -> None:
    tensor = traits.tensor
    if traits.lazy is not None and not is_lazy(tensor):
        tensor.data = traits.lazy
    if type(tensor) is not traits.kind:
        tensor.__class__ = traits.kind
    _refill(tensor.__dict__, traits.attributes)
    if tensor.requires_grad != traits.requires_grad and tensor.is_leaf:
        tensor.requires_grad_(traits.requires_grad)
    if traits.lazy is None and tensor.is_leaf and tensor.grad is not traits.gradient:
        tensor.grad = traits.gradient
    if traits.gradient is not None and traits.gradients is not None:
        gradient = local(traits.gradient)
        if not same_bits(gradient, traits.gradients):
            gradient.copy_(traits.gradients)


def _restore_values(tensor: torch.Tensor, memory: torch.Tensor, values: torch.Tensor | None) -> None:
    if values is None:
        if not tensor.is_meta:
            swap_contents(tensor, memory)
        return
    if memory.layout is not torch.strided:  # sparse, or of a library: it has no memory to be compared
        tensor.data = values
        return
    moved = tensor.data_ptr() != memory.data_ptr() or tensor.dtype != memory.dtype
    if moved or tensor.shape != memory.shape or tensor.stride() != memory.stride():
        tensor.data = memory
    if not same_bits(tensor, values):
        tensor.copy_(values)
