"""Putting tensors into a module whose plan is made: by swapping, or by copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from registry.errors.models import ExtraStateRefused, UntouchedTensor, first_line
from registry.modules.anatomy import tensors
from registry.modules.fitting.memory import is_given_up, put
from registry.modules.fitting.plan import Plan
from registry.modules.layout import Layout, layout
from registry.ranks.shards import is_shard, local, materialized, part_of
from registry.tensors.memory import swap_contents

Assigned = dict[int, torch.Tensor]
"""The module's tensors that were set, by id."""


def install(found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor], deferred: frozenset[int]) -> None:
    """Let the module's tensors be the entry's own, without a copy; the objects stay, and with them ties.

    Those that have values of their own, since nothing was left out that gave them these, are written to instead: they
    may share their memory with anything.

    Args:
        deferred: ids of the tensors that have no values yet.

    Names that are one tensor in the entry, or equal ones that are stored once, share memory there. Where the module
    holds them apart each further one gets a copy, so that training one does not change the other.
    """
    done: Assigned = {}
    in_use: set[int] = set()
    shards: dict[int, nn.Parameter] = {}
    for name, source in plan.sources.items():
        tensor = found.slots[name].tensor
        if id(tensor) in done:
            continue
        done[id(tensor)] = tensor
        if is_shard(tensor):
            shards[id(tensor)] = materialized(tensor, weights[source])
            continue
        if id(tensor) not in deferred:
            write(tensor, weights[source])
            continue
        given = _trainable(weights[source].detach())
        address = given.data_ptr()
        if address in in_use and address:
            given = given.clone()
        in_use.add(address)
        swap_contents(tensor, given)
    for slot in found.slots.values() if shards else ():
        if id(slot.tensor) in shards:  # FSDP looks for replaced parameters at the first forward
            slot.owner._parameters[slot.key] = shards[id(slot.tensor)]
    _reset(found, plan.report.defaulted)


def copy(found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the entry's values into the module's own memory, on whatever device that is.

    What interrupts it is raised when all is written: a module never holds some of the old values and some of the new.
    """
    try:
        _copy(found, plan, weights)
    except BaseException:
        _finished(lambda: _copy(found, plan, weights))
        raise


def only_copies(found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether nothing is left to do but to write over memory that is there: no step of that can fail."""
    given = [(found.slots[name].tensor, weights[source]) for name, source in plan.sources.items()]
    tensors = [*(tensor for tensor, _ in given), *(found.slots[name].tensor for name in plan.report.defaulted)]
    return (
        not plan.extra_states
        and all(tensor.dtype is values.dtype for tensor, values in given)
        and all(map(_is_plain_memory, tensors))
    )


def _is_plain_memory(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) in (nn.Parameter, torch.Tensor)
        and tensor.device.type in ("cpu", "cuda")
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not tensor.is_inference()
    )


def _copy(found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor]) -> None:
    done: Assigned = {}
    for name, source in plan.sources.items():
        tensor = found.slots[name].tensor
        if id(tensor) not in done:
            done[id(tensor)] = tensor
            write(tensor, weights[source])
    _reset(found, plan.report.defaulted)


def _finished(act: Callable[[], None]) -> None:
    """Do something that may be done twice, again until nothing interrupts it."""
    while True:
        try:
            act()
        except Exception:
            raise
        except BaseException:
            continue
        return


def write(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Give one tensor of a module other values, in its own memory if dtype and layout allow."""
    if is_shard(tensor):
        local(tensor).copy_(part_of(values, tensor))
    elif tensor.is_meta:
        swap_contents(tensor, values.detach().clone())
    elif tensor.dtype != values.dtype:
        tensor.data = values.detach().to(tensor.device, copy=True)
    else:
        put(tensor, values)


def set_extra_states(
    module: nn.Module, found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor], values: Mapping[str, Any]
) -> None:
    """Hand each extra state to its owner, and see that no tensor was replaced by that."""
    for name in plan.extra_states:
        owner = found.extra_states[name]
        value = values[name] if name in values else weights[name].clone()
        try:
            owner.set_extra_state(value)
        except Exception as error:
            model = type(owner).__name__
            raise ExtraStateRefused(model, name, type(error).__name__, first_line(error)) from error
    if plan.extra_states:
        after = layout(module).slots
        replaced = [n for n, s in found.slots.items() if n not in after or after[n].tensor is not s.tensor]
        added = [name for name in after if name not in found.slots]
        if replaced or added:
            raise UntouchedTensor(type(module).__name__, [*replaced, *added], "were replaced by set_extra_state")


def convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Give every real floating-point tensor of the module the dtype; parameters stay the objects that they are."""
    for tensor in tensors(module):
        if tensor.is_floating_point() and tensor.dtype != dtype and not is_given_up(local(tensor)):
            tensor.data = tensor.data.to(dtype)


def _trainable(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same memory as a tensor that autograd takes, also if it was mapped in inference mode."""
    if not tensor.is_inference():
        return tensor
    outside = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return outside.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


def _reset(found: Layout, names: Iterable[str]) -> None:
    for name in names:
        found.slots[name].tensor.zero_()
