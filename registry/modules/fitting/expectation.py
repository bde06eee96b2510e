"""What a module's own state dict wants."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from registry.canonical.expectation import COUNTER, Expectation
from registry.canonical.form import is_extra_state
from registry.canonical.owned import unwrapping_of
from registry.modules.anatomy import state_dict
from registry.modules.building.process_state import gc_paused
from registry.modules.layout import Layout, bare, layout, live_wrappers
from registry.tensors.memory import spec_of
from registry.tensors.spec import TensorSpec
from registry.tensors.ties import tied


@gc_paused()
def expect(module: nn.Module) -> Expectation:
    """Return the names, dtypes, shapes and ties of a module's state dict; wrappers leave no component.

    A module on the meta device will do. A lazy parameter has no shape yet and stands among ``values``.
    """
    module = bare(module)
    return expect_of(module, layout(module))


def expect_of(module: nn.Module, found: Layout) -> Expectation:
    """Return the same for a module that was walked already."""
    state: dict[str, Any] = (
        own_state(module, keep_vars=True)
        if found.custom
        else {name: slot.tensor for name, slot in found.slots.items()} | dict.fromkeys(found.extra_states)
    )
    tensors: dict[str, TensorSpec] = {}
    values: set[str] = set()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or is_lazy(value) or is_extra_state(name):
            values.add(name)
        else:
            tensors[name] = spec_of(value)
    return Expectation(
        tensors=tensors,
        values=frozenset(values),
        ties=tied({name: id(state[name]) for name in tensors}),
        defaults=counters(found) & tensors.keys(),
    )


def own_state(module: nn.Module, *, keep_vars: bool = False) -> dict[str, Any]:
    """Return what the class itself gives as its state dict, by canonical name, without what wrappers inside own."""
    unwrapping = unwrapping_of(live_wrappers(module))
    state = state_dict(module, keep_vars=keep_vars)
    return {unwrapping.bare(name): value for name, value in state.items() if name not in unwrapping.set_aside}


def counters(found: Layout) -> frozenset[str]:
    """Return the names of the counters of batch normalization, which files from before torch 0.4.1 do not have."""
    return frozenset(
        name for name, slot in found.slots.items() if slot.key == COUNTER and isinstance(slot.owner, _NormBase)
    )
