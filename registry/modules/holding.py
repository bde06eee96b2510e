"""A live module as one side of a comparison: what it holds now, whole or as this rank's part, wherever it is."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.canonical.expectation import Expectation
from registry.errors.checkpoints import UnstorableTensor
from registry.modules.building.process_state import gc_paused
from registry.modules.fitting.expectation import counters, expect_of, own_state
from registry.modules.fitting.plan import castable
from registry.modules.layout import bare, is_fsdp1, is_sharded, layout, owned
from registry.modules.live import LiveTensor
from registry.ranks.shards import is_shard, local, part_of
from registry.tensors.memory import dtype_name, same_bits, spec_of
from registry.tensors.source import TensorBytes, TensorSource
from registry.tensors.spec import TensorSpec
from registry.tensors.wrapper_value import Owner

if TYPE_CHECKING:
    from registry.loading.bits import ComparedTensor
    from registry.loading.check import Verdict


@dataclass(frozen=True, eq=False)
class Slice:
    """This rank's part of a tensor that is spread over ranks, as a ``TensorSource`` that has the whole's type."""

    tensor: torch.Tensor
    spec: TensorSpec

    @property
    def identity(self) -> Hashable:
        part = local(self.tensor)
        return (self._part.identity, part.shape) if part.numel() else id(self.tensor)

    @property
    def is_streamed(self) -> bool:
        return self._part.is_streamed

    def buffer(self) -> memoryview:
        return self._part.buffer()

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        return self._part.pieces(own=own)

    @property
    def _part(self) -> LiveTensor:
        return LiveTensor("", "", local(self.tensor))


def _blank(kind: str, shape: tuple[int, ...] = ()) -> TensorBytes:
    """Stand for a tensor without plain values: on the meta device, of a lazy module, quantized, sparse."""
    return TensorBytes(TensorSpec(kind, shape), memoryview(b""))


@dataclass(frozen=True)
class Holdings:
    """Everything in a module's state dict, by canonical name."""

    model: str
    tensors: Mapping[str, TensorSource]
    values: Mapping[str, Any] = field(default_factory=dict)
    """Extra states, and what else of a state dict is no tensor."""
    expectation: Expectation = field(default_factory=lambda: Expectation({}))
    """What judges the names of a file."""
    defaults: Collection[str] = ()
    wrappers: Mapping[Owner, Any] = field(default_factory=dict)
    """What the wrappers around and inside of it own."""


def must_be_gathered(module: nn.Module) -> bool:
    """Whether a module's tensors have no names on one rank alone (FSDP1, or FSDP2 over a state dict of its own)."""
    return is_fsdp1(module) or (is_sharded(module) and bool(layout(module).custom))


@gc_paused()
def holdings(module: nn.Module) -> Holdings:
    """Return what a module holds; nothing is copied, and nothing is sent to or awaited from other ranks."""
    found = layout(module)
    wrappers = {
        owner: place.get_extra_state() if isinstance(place, nn.Module) else _whole(place.tensor)
        for owner, place in owned(found).items()
    }
    module = bare(module)
    state: dict[str, Any] = (
        own_state(module, keep_vars=True)
        if found.custom
        else {name: slot.tensor for name, slot in found.slots.items()}
        | {name: owner.get_extra_state() for name, owner in found.extra_states.items()}
    )
    named = f"a live {type(module).__name__}"
    tensors: dict[str, TensorSource] = {}
    values: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, torch.Tensor):
            tensors[name] = _holding(named, name, value)
        else:
            values[name] = value
    return Holdings(type(module).__name__, tensors, values, expect_of(module, found), counters(found), wrappers)


def is_more_than_bits(here: ComparedTensor, stored: ComparedTensor) -> bool:
    """Whether a tensor of a module may be right without having the stored bits: a part of them, or a cast."""
    if here.spec.shape != stored.spec.shape:
        return False
    return isinstance(here, Slice) or (
        here.spec.dtype != stored.spec.dtype and castable(here.spec.dtype, stored.spec.dtype)
    )


def verdict(here: ComparedTensor, stored: ComparedTensor, values: torch.Tensor) -> Verdict:
    """Compare a tensor of a module with the whole stored one; a cast is what ``load(cast=)`` would have put there."""
    if isinstance(here, Slice):
        mine, part = local(here.tensor), part_of(values, here.tensor)
    else:
        assert isinstance(here, LiveTensor)
        mine, part = here.tensor, values
    if here.spec.dtype == stored.spec.dtype:
        return "equal" if same_bits(mine, part) else "differs"
    may_be_cast = castable(here.spec.dtype, stored.spec.dtype)
    return "cast" if may_be_cast and same_bits(mine, part.to(mine.dtype)) else "differs"


def _whole(tensor: torch.Tensor) -> Any:
    """Return a tensor of a wrapper as a source; what has no plain values is nothing that was stored."""
    held = _holding("", "", tensor)
    return held if isinstance(held, LiveTensor) else str(held.spec)


def _holding(named: str, name: str, tensor: torch.Tensor) -> TensorSource:
    if is_lazy(tensor):
        return _blank("uninitialized")
    if tensor.is_meta:
        return _blank(f"meta {dtype_name(tensor.dtype)}", tuple(tensor.shape))
    if is_shard(tensor):
        return Slice(tensor, spec_of(tensor))
    try:
        return LiveTensor(named, name, tensor)
    except UnstorableTensor:  # quantized, sparse: it holds no values that were stored
        return _blank(f"{type(tensor).__name__} {dtype_name(tensor.dtype)}", tuple(tensor.shape))
