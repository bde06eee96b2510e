"""Where a module keeps the tensors of its state dict: one slot a canonical name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from registry.canonical.wrappers import WRAPPERS

EXTRA_STATE = "_extra_state"
"""Last component of the name under which torch stores what ``get_extra_state()`` returns."""

_COMPONENTS = {name: row.component for row in WRAPPERS for name in row.types}
_HOOKS = ("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")
_KNOWN_LOADERS = (
    nn.Module._load_from_state_dict,
    _NormBase._load_from_state_dict,  # defaults num_batches_tracked of old files, as `fit` does
    _InstanceNorm._load_from_state_dict,  # words an error of its own
)


class Slot(NamedTuple):
    """One tensor of a state dict, and the module that registers it under a key."""

    owner: nn.Module
    key: str
    is_parameter: bool
    tensor: torch.Tensor


class Layout(NamedTuple):
    """Everything in a module's state dict, by canonical name, in its order."""

    slots: dict[str, Slot]
    extra_states: dict[str, nn.Module]
    """Owners of ``_extra_state`` by its full name."""
    custom: str
    """Class that reads or writes its state dict in its own way; empty if none does."""


def layout(module: nn.Module) -> Layout:
    """Walk a module as ``state_dict()`` does; wrappers inside, such as DataParallel, leave no component."""
    slots: dict[str, Slot] = {}
    extra_states: dict[str, nn.Module] = {}
    custom = ""
    sharded = is_sharded(module)
    for prefix, part in _walk(module, ""):
        if not custom and (_has_custom_class(_kind(part)) if sharded else is_custom(part)):
            custom = type(part).__name__
        for key, parameter in part._parameters.items():
            if parameter is not None:
                slots[prefix + key] = Slot(part, key, True, parameter)
        transient = part._non_persistent_buffers_set
        for key, buffer in part._buffers.items():
            if buffer is not None and key not in transient:
                slots[prefix + key] = Slot(part, key, False, buffer)
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            extra_states[prefix + EXTRA_STATE] = part
    return Layout(slots, extra_states, custom)


def bare(module: nn.Module) -> nn.Module:
    """Return the model inside of any wrappers at the root, known by their types."""
    while (component := _component(_kind(module))) and isinstance(child := getattr(module, component, None), nn.Module):
        module = child
    return module


def is_sharded(module: nn.Module) -> bool:
    """Whether FSDP2 gave out the parameters in shards; it keeps them so by hooks, which are no loading of its own."""
    return any(_is_sharded_class(_kind(part)) for part in module.modules())


def is_custom(module: nn.Module) -> bool:
    """Whether a state dict of this one module is made or read by more than its registered tensors."""
    state = module.__dict__
    return _has_custom_class(_kind(module)) or any(state.get(hooks) for hooks in _HOOKS)


def _kind(module: nn.Module) -> Any:
    """Return the class, which mypy takes for unhashable, as the key of a cache."""
    return type(module)


@cache
def _has_custom_class(kind: type[Any]) -> bool:
    return (
        kind._load_from_state_dict not in _KNOWN_LOADERS
        or kind._save_to_state_dict is not nn.Module._save_to_state_dict
        or kind.state_dict is not nn.Module.state_dict
        or kind.load_state_dict is not nn.Module.load_state_dict
    )


@cache
def _is_sharded_class(kind: type[Any]) -> bool:
    return any(parent.__name__ == "FSDPModule" and parent.__module__.startswith("torch.") for parent in kind.__mro__)


@cache
def _component(kind: type[Any]) -> str:
    """Return the name of a wrapper's one child, or an empty text where the class is no wrapper."""
    for parent in kind.__mro__:
        component = _COMPONENTS.get(f"{parent.__module__}.{parent.__qualname__}")
        if component:
            return component
    return ""


def _walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    module = bare(module)
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.")
