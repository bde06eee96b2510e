"""Tensors of a module that see the same memory, in which not every entry's values can stand."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch.nn.parameter import is_lazy

from registry.errors.models import UntouchedTensor
from registry.modules.fitting.plan import Plan
from registry.modules.layout import Layout
from registry.ranks.shards import local, part_of
from registry.tensors.memory import same_bits


def check_places(
    found: Layout,
    plan: Plan,
    weights: Mapping[str, torch.Tensor],
    model: str,
    *,
    is_callers: bool,
    deferred: frozenset[int] = frozenset(),
) -> None:
    """Refuse, before anything is written, what would not stand in the module afterwards.

    Elements of one tensor may be one place in memory (``expand``, ``as_strided``, ``unfold``), and two tensors may
    overlap in part. Where that is so, the writes are tried on a copy of the memory: what is consistent is taken.

    Args:
        is_callers: whether somebody holds the module; else a tensor may get memory of its own.
        deferred: ids of tensors that have no values yet, and no memory that anything else sees.

    Raises:
        UntouchedTensor: a tensor would not hold the entry's values, or one that keeps its own would lose them.
    """
    for names in _suspects(found, deferred):
        if not is_callers:
            _separate(names, found, plan, weights)
        _try_on_copy({name: found.slots[name].tensor for name in names}, plan, weights, model)


def _separate(names: list[str], found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor]) -> None:
    """Give each tensor of a module that nobody holds yet memory in which the entry's values can stand.

    The module that was pushed had it replaced meanwhile: its class makes an expanded buffer, say, and training a full
    one.
    """
    for name in names:
        tensor = local(found.slots[name].tensor)
        if name in plan.sources and may_overlap_itself(tensor):
            values = part_of(weights[plan.sources[name]], found.slots[name].tensor)
            copy = _on(_copied(tensor), tensor)
            put(copy, values.to(copy.dtype))
            if not same_bits(copy, values.detach().to(copy.dtype)):
                tensor.data = tensor.detach().clone(memory_format=torch.contiguous_format)


def put(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Write values into a tensor, also where torch refuses it because several elements are one place."""
    if not may_overlap_itself(tensor):
        tensor.detach().copy_(values)
        return
    places = torch.zeros((), dtype=torch.long, device=tensor.device)
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = places.unsqueeze(-1) + torch.arange(size, device=tensor.device) * stride
    span = tensor.detach().as_strided((int(places.max()) + 1,), (1,))
    span[places.reshape(-1)] = values.detach().to(tensor.device).reshape(-1)


def may_overlap_itself(tensor: torch.Tensor) -> bool:
    """Whether several elements of a tensor may be one place in memory; False only where it is certain."""
    if tensor.is_contiguous() or tensor.numel() < 2:
        return False
    reach = 0
    for stride, size in sorted((stride, size) for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1:
            if stride <= reach:
                return True
            reach += (size - 1) * stride
    return False


def _suspects(found: Layout, deferred: frozenset[int]) -> list[list[str]]:
    """Return the names of tensors that may overlap, one list for each memory."""
    by_memory: dict[int, dict[int, str]] = {}
    odd: set[int] = set()
    for name, slot in found.slots.items():
        tensor = slot.tensor
        if id(tensor) in deferred or tensor.is_meta or is_lazy(tensor):
            continue
        tensor = local(tensor)
        memory = tensor.untyped_storage().data_ptr()
        by_memory.setdefault(memory, {}).setdefault(id(slot.tensor), name)
        if not tensor.is_contiguous() and may_overlap_itself(tensor):
            odd.add(memory)
    suspects = []
    for memory, names in by_memory.items():
        several = [name for name in names.values() if found.slots[name].tensor.numel()]
        if memory in odd or (len(several) > 1 and _touch([local(found.slots[name].tensor) for name in several])):
            suspects.append(several)
    return suspects


def _touch(tensors: list[torch.Tensor]) -> bool:
    """Whether the regions of tensors in one memory, from their first byte to their last, have a byte in common."""
    regions = []
    for tensor in tensors:
        reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        regions.append((tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.element_size()))
    return any(end > begin for (_, end), (begin, _) in pairwise(sorted(regions)))


def _try_on_copy(
    tensors: Mapping[str, torch.Tensor], plan: Plan, weights: Mapping[str, torch.Tensor], model: str
) -> None:
    memories = {local(tensor).untyped_storage().data_ptr(): _copied(local(tensor)) for tensor in tensors.values()}
    wanted: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name in plan.sources:
            wanted[name] = part_of(weights[plan.sources[name]], tensor).detach()
        elif name in plan.report.defaulted:
            wanted[name] = torch.zeros_like(local(tensor))
        else:
            wanted[name] = local(tensor).detach().clone()
    whole = {name: local(tensor) for name, tensor in tensors.items()}
    copies = {name: _on(memories[tensor.untyped_storage().data_ptr()], tensor) for name, tensor in whole.items()}
    for name in wanted:
        if name in plan.sources or name in plan.report.defaulted:
            put(copies[name], wanted[name].to(copies[name].dtype))
    wrong = [name for name, copy in copies.items() if not same_bits(copy, wanted[name].to(copy.dtype))]
    if wrong:
        raise UntouchedTensor(model, wrong, "share memory, with other tensors or among their own elements")


def _copied(tensor: torch.Tensor) -> torch.UntypedStorage:
    copied: torch.UntypedStorage = tensor.untyped_storage().clone()  # type: ignore[no-untyped-call]
    return copied


def _on(memory: torch.UntypedStorage, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that sees another memory as this one sees its own."""
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(memory, tensor.storage_offset(), tensor.shape, tensor.stride())
