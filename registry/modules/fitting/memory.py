"""Tensors of a module that see the same memory, in which not every entry's values can stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch.nn.parameter import is_lazy

from registry.errors.models import UntouchedTensor
from registry.modules.fitting.plan import Plan
from registry.modules.layout import Layout
from registry.ranks.shards import local, part_of
from registry.tensors.memory import same_bits

_ALIGNMENT = 16
"""Bytes: no element of a tensor is larger."""


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
    given = {name: found.slots[name].tensor for name in plan.sources}
    if odd := [name for name, tensor in given.items() if id(tensor) not in deferred and _is_odd(tensor)]:
        raise UntouchedTensor(model, odd, "cannot be written to: sparse, or its memory was given up")
    for group in _suspects(found, deferred):
        if not is_callers:
            _separate(group, found, plan, weights)
        for regions in _overlapping(_region(name, tensor) for _, _, _, name, tensor in group):
            _try_on_copy(regions, found, plan, weights, model)


def _is_odd(tensor: torch.Tensor) -> bool:
    """Whether a tensor that has values is no view of memory."""
    if tensor.is_meta or is_lazy(tensor):
        return False
    return local(tensor).layout is not torch.strided or is_given_up(local(tensor))


def is_given_up(tensor: torch.Tensor) -> bool:
    """Whether its memory was taken away (``untyped_storage().resize_(0)``), as FSDP does it: to read it is fatal."""
    if is_lazy(tensor) or tensor.is_meta or tensor.layout is not torch.strided or not tensor.numel():
        return False
    needed = (tensor.storage_offset() + _reach(tensor)) * tensor.element_size()
    return tensor.untyped_storage().nbytes() < needed


def _separate(group: Iterable[_Region], found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor]) -> None:
    """Give each tensor of a module that nobody holds yet memory in which the entry's values can stand.

    The module that was pushed had it replaced meanwhile: its class makes an expanded buffer, say, and training a full
    one.
    """
    for region in group:
        name, tensor = region.name, region.tensor
        if name in plan.sources and may_overlap_itself(tensor):
            values = part_of(weights[plan.sources[name]], found.slots[name].tensor)
            copy = _on_copy([region])[name]
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


class _Region(NamedTuple):
    """The bytes of a tensor's memory from its first element to its last."""

    device: str
    begin: int
    end: int
    name: str
    tensor: torch.Tensor
    """Its part on this rank."""


def _suspects(found: Layout, deferred: frozenset[int]) -> list[list[_Region]]:
    """Return the tensors that may overlap, or of which elements may, one list for each memory."""
    tensors = {id(slot.tensor): (name, slot.tensor) for name, slot in reversed(found.slots.items())}
    groups = _overlapping(
        _region(name, local(tensor))
        for name, tensor in tensors.values()
        if id(tensor) not in deferred and not tensor.is_meta and not is_lazy(tensor) and _has_elements(local(tensor))
    )
    return [group for group in groups if len(group) > 1 or may_overlap_itself(group[0].tensor)]


def _has_elements(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.numel() > 0


def _overlapping(regions: Iterable[_Region]) -> list[list[_Region]]:
    """Return regions that have a byte in common together, in the order of their beginnings.

    Addresses decide: two storages may be one memory, as of two arrays of numpy.
    """
    groups: list[list[_Region]] = []
    device, end = "", 0
    for region in sorted(regions, key=lambda region: region[:3]):
        if region.device != device or region.begin >= end:
            groups.append([])
            device, end = region.device, 0
        groups[-1].append(region)
        end = max(end, region.end)
    return groups


def _region(name: str, tensor: torch.Tensor) -> _Region:
    begin = tensor.data_ptr()
    return _Region(str(tensor.device), begin, begin + _reach(tensor) * tensor.element_size(), name, tensor)


def _reach(tensor: torch.Tensor) -> int:
    """Return how many elements lie from its first to its last."""
    if tensor.is_contiguous():
        return tensor.numel()
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _try_on_copy(
    regions: Sequence[_Region], found: Layout, plan: Plan, weights: Mapping[str, torch.Tensor], model: str
) -> None:
    tensors = {region.name: region.tensor for region in regions}
    wanted: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name in plan.sources:
            wanted[name] = part_of(weights[plan.sources[name]], found.slots[name].tensor).detach()
        elif name in plan.report.defaulted:
            wanted[name] = torch.zeros_like(tensor)
        else:
            wanted[name] = tensor.detach().clone()
    if odd := [each.name for each in regions if (each.begin - _base(regions)) % each.tensor.element_size()]:
        raise UntouchedTensor(model, odd, "share memory with others, at an address that no tensor of this dtype has")
    copies = _on_copy(regions)
    for name in wanted:
        if name in plan.sources or name in plan.report.defaulted:
            put(copies[name], wanted[name].to(copies[name].dtype))
    wrong = [name for name, copy in copies.items() if not same_bits(copy, wanted[name].to(copy.dtype))]
    if wrong:
        raise UntouchedTensor(model, wrong, "share memory, with other tensors or among their own elements")


def _on_copy(regions: Sequence[_Region]) -> dict[str, torch.Tensor]:
    """Return tensors that see a copy of some memory as these, which overlap, see the memory itself."""
    base = _base(regions)
    size = max(region.end for region in regions) - base
    memory = torch.zeros(size, dtype=torch.uint8, device=regions[0].tensor.device)
    for _, begin, end, _, tensor in regions:
        span = _view(tensor, tensor.untyped_storage(), int(tensor.storage_offset()), (_reach(tensor),), (1,))
        memory[begin - base : end - base].copy_(span.view(torch.uint8))
    copies = {}
    for region in regions:
        tensor = region.tensor
        place = (region.begin - base) // tensor.element_size()
        copy = _view(tensor, memory.untyped_storage(), place, tensor.shape, tensor.stride())
        copy = copy.conj() if tensor.is_conj() else copy
        copies[region.name] = torch._neg_view(copy) if tensor.is_neg() else copy
    return copies


def _base(regions: Sequence[_Region]) -> int:
    """Return an address before them all that is one for every dtype."""
    return regions[0].begin // _ALIGNMENT * _ALIGNMENT


def _view(
    tensor: torch.Tensor, memory: torch.UntypedStorage, place: int, shape: Sequence[int], stride: Sequence[int]
) -> torch.Tensor:
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(memory, place, shape, stride)
