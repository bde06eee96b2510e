"""Putting an entry into a module through its class's own ``load_state_dict``, and what came of that."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from registry.canonical.owned import unwrapping_of
from registry.errors.models import LoadHookFailed, UntouchedTensor, first_line
from registry.modules.anatomy import method, state_dict
from registry.modules.fitting.expectation import own_state
from registry.modules.fitting.plan import Plan
from registry.modules.layout import Layout, Slot, layout, live_wrappers
from registry.tensors.memory import digest, same_bits

LONGEST = 300
"""Characters of what a class says against a state dict."""


def load_as_the_class_does(
    module: nn.Module,
    found: Layout,
    plan: Plan,
    weights: Mapping[str, torch.Tensor],
    values: Mapping[str, Any],
    metadata: Mapping[str, Mapping[str, Any]] | None,
) -> None:
    """Use ``load_state_dict(strict=True)``, for classes with hooks or a loading of their own, and check the result.

    Raises:
        LoadHookFailed: it raised.
        UntouchedTensor: a tensor does not hold what the plan says, or one that was to keep its values lost them.
    """
    model = type(module).__name__
    names = unwrapping_of(live_wrappers(module))
    own = {names.bare(name): value for name, value in state_dict(module).items() if name not in names.set_aside}
    plain = {name for name, tensor in own.items() if _is_of_slot(tensor, found.slots.get(name))}
    kept = {
        name: value.detach().clone()
        for name, value in own.items()
        if name in plan.report.reshaped or name in plan.report.missing
        if isinstance(value, torch.Tensor) and not is_lazy(value)
    }
    handed = handed_over(module, plan, weights, values, metadata)
    try:
        load_strictly(module, handed, weights)
    except UntouchedTensor:
        raise
    except Exception as error:
        raise LoadHookFailed(model, type(error).__name__, worded(error)) from error
    loaded = own_state(module)
    slots = layout(module).slots
    lazy = {name: name for name in plan.extra_states if name in weights and isinstance(loaded.get(name), torch.Tensor)}
    wrong = [
        name
        for name, source in {**plan.sources, **lazy}.items()
        if name not in loaded
        or not has_values(loaded[name], weights[source])
        # What the state dict shows is what the module computes with, where that was so before.
        or (
            name in plain
            and not _is_of_slot(loaded[name], slot := slots.get(name))
            and not _slot_has(slot, weights[source])
        )
    ]
    wrong += [name for name, value in plan.made.items() if name not in loaded or digest(loaded[name]) != value]
    if wrong:
        raise UntouchedTensor(model, wrong, "came out of the class's own loading with other values")
    if lost := [name for name, was in kept.items() if name not in loaded or not has_values(loaded[name], was)]:
        raise UntouchedTensor(model, lost, "were to keep their own values, and share memory with what was loaded")


def handed_over(
    module: nn.Module,
    plan: Plan,
    weights: Mapping[str, torch.Tensor],
    values: Mapping[str, Any],
    metadata: Mapping[str, Mapping[str, Any]] | None,
) -> OrderedDict[str, Any]:
    """Return the state dict that a module is given, under the names that it has through the wrappers in it.

    Where the plan says which tensor of the module gets which of the entry, it has the module's names. Otherwise it has
    those of the entry, and of the module what keeps its own values.
    """
    names = unwrapping_of(live_wrappers(module))
    kept = {*plan.report.missing, *plan.report.reshaped}
    state: OrderedDict[str, Any] = OrderedDict()
    for in_module, value in state_dict(module).items():
        name = names.bare(in_module)
        if in_module in names.set_aside or name in kept:
            state[in_module] = value
        elif name in plan.report.defaulted:
            state[in_module] = torch.zeros_like(value)
        elif plan.as_it_is:
            continue
        elif name in plan.sources:
            state[in_module] = weights[plan.sources[name]]
        elif name in plan.extra_states:
            state[in_module] = values[name] if name in values else weights[name]
        else:
            state[in_module] = value
    if plan.as_it_is:
        left_out = {*plan.report.unexpected, *plan.report.reshaped}
        entry = {name: value for name, value in {**weights, **values}.items() if name not in left_out}
        state.update({names.wrapped(name): value for name, value in entry.items()})
    if metadata is not None:
        facts = {names.wrapped(path): dict(of_module) for path, of_module in metadata.items()}
        state._metadata = facts  # type: ignore[attr-defined]
    return state


def load_strictly(module: nn.Module, state: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Load a state dict as the class does, and refuse a class that writes into the tensors which it is given.

    Raises:
        UntouchedTensor: it does, and so takes other values than the entry's.
        Exception: whatever the class raises.
    """
    before = {name: _version(tensor) for name, tensor in weights.items()}
    with _WithoutIdleCopies():
        method(module, "load_state_dict")(state, strict=True)
    if changed := [name for name, tensor in weights.items() if _version(tensor) != before[name]]:
        raise UntouchedTensor(
            type(module).__name__, changed, "are changed by the class's own loading before it takes them"
        )


class _WithoutIdleCopies(TorchFunctionMode):
    """Leaves out the copy of a tensor onto itself, which changes nothing and counts as a change.

    Observers take a tensor of the state dict for their own, and then copy it as every module does.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.copy_ and len(args) > 1 and args[0] is args[1]:
            return args[0]
        return func(*args, **(kwargs or {}))


def worded(error: Exception) -> str:
    """Return what a class's own loading says: where torch lists what differs, the beginning of that, else a line."""
    whole = " ".join(str(error).split())
    return whole[:LONGEST] if is_of_torch(error) else first_line(error)


def is_of_torch(error: Exception) -> bool:
    """Whether it is torch's own word for a state dict that does not fit."""
    return str(error).startswith("Error(s) in loading state_dict")


def has_values(tensor: torch.Tensor, values: torch.Tensor) -> bool:
    """Whether a tensor of a module has the values of one of an entry, in its own dtype."""
    return same_bits(tensor.detach().cpu(), values.to(tensor.dtype).cpu())


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _slot_has(slot: Slot | None, values: torch.Tensor) -> bool:
    return slot is not None and slot.tensor.shape == values.shape and has_values(slot.tensor, values)


def _is_of_slot(tensor: Any, slot: Slot | None) -> bool:
    """Whether an entry of a state dict is a registered tensor itself, seen as it is."""
    if slot is None or not isinstance(tensor, torch.Tensor) or is_lazy(slot.tensor) or is_lazy(tensor):
        return False
    registered = slot.tensor
    same = (
        tensor.shape == registered.shape and tensor.stride() == registered.stride() and tensor.dtype == registered.dtype
    )
    return same and tensor.data_ptr() == registered.data_ptr()
