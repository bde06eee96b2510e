"""Tensors of a module that see the same memory, in which not every entry's values can stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch.nn.parameter import is_lazy

from registry.errors.models import UntouchedTensor
from registry.models.bits import same_bits
from registry.models.plan import Plan
from registry.models.shards import local, part_of
from registry.models.slots import Layout


def check_places(found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor], model: str) -> None:
    """Refuse, before anything is written, what would not stand in the module afterwards.

    Elements of one tensor may be one place in memory (``expand``, ``as_strided``, ``unfold``), and two tensors may
    overlap in part. Where that is so, the writes are tried on a copy of the memory: what is consistent is taken.

    Raises:
        UntouchedTensor: a tensor would not hold the entry's values, or one that keeps its own would lose them.
    """
    for names in _suspects(found):
        _try_on_copy({name: found.slots[name].tensor for name in names}, plan, weights, model)


def separate(found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor]) -> None:
    """Give each tensor of a module that nobody holds yet memory in which the entry's values can stand.

    The module that was pushed had it replaced meanwhile: its class makes an expanded buffer, say, and training a full one.
    """
    for name in (name for names in _suspects(found) for name in names):
        tensor = local(found.slots[name].tensor)
        if name in plan.sources and may_overlap_itself(tensor):
            values = part_of(weights[plan.sources[name]], found.slots[name].tensor)
            copy = _on(tensor.untyped_storage().clone(), tensor)
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


def is_seen_elsewhere(tensor: torch.Tensor) -> bool:
    """Whether another living tensor sees the memory of this one, so that the memory has to stay."""
    return may_overlap_itself(tensor) or _uses(tensor) > _uses_alone()


def _suspects(found: Layout) -> list[list[str]]:
    """Return the names of tensors that may overlap, one list for each memory."""
    by_memory: dict[int, list[tuple[int, int, str, bool]]] = {}
    seen: set[int] = set()
    for name, slot in found.slots.items():
        if id(slot.tensor) in seen or is_lazy(slot.tensor):
            continue
        seen.add(id(slot.tensor))
        tensor = local(slot.tensor)
        if tensor.is_meta or not tensor.numel():
            continue
        begin = tensor.data_ptr()
        memory = tensor.untyped_storage().data_ptr()
        reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        end = begin + (reach + 1) * tensor.element_size()
        by_memory.setdefault(memory, []).append((begin, end, name, may_overlap_itself(tensor)))
    suspects = []
    for regions in by_memory.values():
        regions.sort()
        touching = any(one[1] > other[0] for one, other in zip(regions, regions[1:], strict=False))
        if touching or any(overlaps for *_, overlaps in regions):
            suspects.append([name for *_, name, _ in regions])
    return suspects


def _try_on_copy(
    tensors: Mapping[str, torch.Tensor], plan: Plan, weights: Mapping[str, torch.Tensor], model: str
) -> None:
    memory = local(next(iter(tensors.values()))).untyped_storage().clone()
    wanted: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name in plan.sources:
            wanted[name] = part_of(weights[plan.sources[name]], tensor).detach()
        elif name in plan.defaulted:
            wanted[name] = torch.zeros_like(local(tensor))
        else:
            wanted[name] = local(tensor).detach().clone()
    copies = {name: _on(memory, local(tensors[name])) for name in wanted}
    for name in wanted:
        if name in plan.sources or name in plan.defaulted:
            put(copies[name], wanted[name].to(copies[name].dtype))
    wrong = [name for name, copy in copies.items() if not same_bits(copy, wanted[name].to(copy.dtype))]
    if wrong:
        raise UntouchedTensor(model, wrong, "share memory, with other tensors or among their own elements")


def _on(memory: torch.UntypedStorage, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that sees another memory as this one sees its own."""
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(memory, tensor.storage_offset(), tensor.shape, tensor.stride())


def _uses(tensor: torch.Tensor) -> int:
    count: Callable[[int], int] = torch._C._storage_Use_Count
    return count(tensor.untyped_storage()._cdata)


@cache
def _uses_alone() -> int:
    """Return how often memory counts as used that only one tensor sees, which differs from torch to torch."""
    return _uses(torch.empty(1))
