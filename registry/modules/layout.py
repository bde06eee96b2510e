"""Where a module keeps the tensors of its state dict: one slot a canonical name."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from registry.canonical.owned import levels_of
from registry.modules.live import wrapper_of
from registry.tensors.wrapper_value import Owner

EXTRA_STATE = "_extra_state"
"""Last component of the name under which torch stores what ``get_extra_state()`` returns."""

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
    parts: list[tuple[str, nn.Module]]
    """Every module with the prefix of its names; one that is registered twice is there twice, wrappers are not."""
    custom: str
    """Class that reads or writes its state dict in its own way; empty if none does."""
    wrappers: list[tuple[str, nn.Module]]
    """Every wrapper with the prefix of the names of what it wraps, outermost first."""


def layout(module: nn.Module) -> Layout:
    """Walk a module as ``state_dict()`` does; wrappers inside, such as DataParallel, leave no component."""
    parts: list[tuple[str, nn.Module]] = []
    wrappers: list[tuple[str, nn.Module]] = []
    _walk(module, "", parts, wrappers)
    return Layout(*_entries(parts), parts, _custom_class(parts), wrappers)


def _entries(parts: list[tuple[str, nn.Module]]) -> tuple[dict[str, Slot], dict[str, nn.Module]]:
    slots: dict[str, Slot] = {}
    extra_states: dict[str, nn.Module] = {}
    for prefix, part in parts:
        state = part.__dict__  # 10,000 modules are walked more than once a load, and nn.Module's lookup is slow
        for key, parameter in state["_parameters"].items():
            if parameter is not None:
                slots[prefix + key] = Slot(part, key, True, parameter)
        for key, buffer in state["_buffers"].items():
            if buffer is not None and key not in state["_non_persistent_buffers_set"]:
                slots[prefix + key] = Slot(part, key, False, buffer)
        if _has_extra_state(_kind(part)):
            extra_states[prefix + EXTRA_STATE] = part
    return slots, extra_states


def owned(found: Layout) -> dict[Owner, Slot | nn.Module]:
    """Return what the wrappers of a module have beside the model inside: a tensor, or the module of an extra state."""
    rows = [
        (prefix.removesuffix("."), wrapper, row) for prefix, wrapper in found.wrappers if (row := wrapper_of(wrapper))
    ]
    levels = levels_of((path, row.name) for path, _, row in rows)
    own: dict[Owner, Slot | nn.Module] = {}
    for (path, wrapper, row), level in zip(rows, levels, strict=True):
        parts = [("", wrapper)]
        for key, child in wrapper.__dict__["_modules"].items():
            if child is not None and key != row.component:
                _walk(child, f"{key}.", parts, [])
        slots, extra_states = _entries(parts)
        own.update({Owner(path, row.name, level, key): slot for key, slot in slots.items()})
        own.update({Owner(path, row.name, level, key): part for key, part in extra_states.items()})
    return own


def bare(module: nn.Module) -> nn.Module:
    """Return the model inside of any wrappers at the root, known by their types."""
    while (inner := _inside(module)) is not None:
        module = inner
    return module


def _inside(module: nn.Module) -> nn.Module | None:
    row = wrapper_of(module)
    child = getattr(module, row.component, None) if row is not None else None
    return child if isinstance(child, nn.Module) else None


def _custom_class(parts: list[tuple[str, nn.Module]]) -> str:
    """Return the name of a class whose state dict is more than its registered tensors, or an empty text."""
    for _, part in parts:
        if _has_custom_class(_kind(part)):
            return type(part).__name__
    hooked = [part for _, part in parts if any(map(part.__dict__.get, _HOOKS))]
    # FSDP2 hooks every module whose parameters it gives out, to keep them given out: that is no loading of its own
    if hooked and not any(_is_sharded_class(_kind(part)) for _, part in parts):
        return type(hooked[0]).__name__
    return ""


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
def _has_extra_state(kind: type[Any]) -> bool:
    return kind.get_extra_state is not nn.Module.get_extra_state


@cache
def _is_sharded_class(kind: type[Any]) -> bool:
    return any(parent.__name__ == "FSDPModule" and parent.__module__.startswith("torch.") for parent in kind.__mro__)


def _walk(
    module: nn.Module, prefix: str, parts: list[tuple[str, nn.Module]], wrappers: list[tuple[str, nn.Module]]
) -> None:
    while (inner := _inside(module)) is not None:
        wrappers.append((prefix, module))
        module = inner
    parts.append((prefix, module))
    for name, child in module.__dict__["_modules"].items():
        if child is not None:
            _walk(child, f"{prefix}{name}.", parts, wrappers)
