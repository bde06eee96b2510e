"""What stands inside of a live module, through the wrappers around and in it: the one walk of it there is.

What a push stores, a load fits and a check compares are the names that this finds; `anatomy.parts` goes through
modules without names. A module is a wrapper by the type of the object, never by the name of an attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from registry.canonical.form import EXTRA_STATE
from registry.canonical.owned import Met, levels_of
from registry.canonical.wrappers import HIDDEN, WRAPPERS, Wrapper
from registry.modules.anatomy import class_of, parts, state_dict
from registry.tensors.ties import tied
from registry.tensors.wrapper_value import Owner

_FSDP1 = "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel"
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


class Step(NamedTuple):
    """A module on the way through another, as often as it is registered."""

    module: nn.Module
    path: str
    """Prefix of its canonical names, ``"layers.0."``: wrappers leave no component."""
    at: str
    """Prefix of its names in the state dict of the whole."""
    row: Wrapper | None
    """Which wrapper it is; None for a part of the model."""


class Layout(NamedTuple):
    """Everything in a module's state dict, by canonical name, in its order."""

    slots: dict[str, Slot]
    extra_states: dict[str, nn.Module]
    """Owners of ``_extra_state`` by its full name."""
    parts: list[tuple[str, nn.Module]]
    """Every module with the prefix of its names; one that is registered twice is there twice, wrappers are not."""
    custom: str
    """Class that reads or writes its state dict in its own way; empty if none does."""
    wrappers: list[Step]
    """Every wrapper, outermost first."""

    @property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of names that are one tensor."""
        return tied({name: id(slot.tensor) for name, slot in self.slots.items()})


def layout(module: nn.Module) -> Layout:
    """Return everything that the state dict of the model in a module has; wrappers leave no component."""
    steps = walk(module)
    inside = [(path, module) for module, path, _, row in steps if row is None]
    return Layout(*_entries(inside), inside, _custom_class(steps), [step for step in steps if step.row is not None])


def walk(module: nn.Module, path: str = "") -> list[Step]:
    """Return a module and all that stands inside of it, as ``state_dict()`` meets them, an outer wrapper first.

    What a wrapper has beside the model that it wraps is no part of that, and is not walked (see `owned`).
    """
    steps: list[Step] = []

    def visit(module: nn.Module, path: str, at: str) -> None:
        while (inner := _inside(module)) is not None:
            steps.append(Step(module, path, at, inner[0]))
            at = at if inner[0].component in HIDDEN else f"{at}{inner[0].component}."
            module = inner[1]
        steps.append(Step(module, path, at, None))
        for key, part in module.__dict__["_modules"].items():
            if part is not None:
                below = f"{path}{key}."
                visit(part, below, below if at == path else f"{at}{key}.")

    visit(module, path, path)
    return steps


def live_wrappers(module: nn.Module) -> tuple[Met, ...]:
    """Return every wrapper in a live module, outermost first; one that stands at several places, once for each."""
    met: list[Met] = []
    for step in walk(module):
        path = step.path.removesuffix(".")
        if _is_sharded_class(class_of(step.module)):
            met.append(Met(path, "fsdp"))
        if step.row is not None:
            inserted = "" if step.row.component in HIDDEN else step.at + step.row.component
            met.append(Met(path, step.row.name, inserted, {step.at + name: name for name in _own_names(step)}))
    return tuple(met)


def _own_names(wrapper: Step) -> Iterator[str]:
    """Yield the names, below a wrapper, of what it has in a state dict beside what it wraps."""
    for entries in _entries([("", wrapper.module)]):
        yield from entries
    for key, child in _beside(wrapper):
        yield from (f"{key}.{name}" for name in state_dict(child))


def _beside(wrapper: Step) -> Iterator[tuple[str, nn.Module]]:
    for key, child in wrapper.module.__dict__["_modules"].items():
        if child is not None and wrapper.row is not None and key != wrapper.row.component:
            yield key, child


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
        if _has_extra_state(class_of(part)):
            extra_states[prefix + EXTRA_STATE] = part
    return slots, extra_states


def owned(found: Layout) -> dict[Owner, Slot | nn.Module]:
    """Return what the wrappers of a module have beside the model inside: a tensor, or the module of an extra state."""
    named = [(step.path.removesuffix("."), step.row.name) for step in found.wrappers if step.row]
    own: dict[Owner, Slot | nn.Module] = {}
    for step, (path, name), level in zip(found.wrappers, named, levels_of(named), strict=True):
        inside = [("", step.module)]
        for key, child in _beside(step):
            inside += [(part.path, part.module) for part in walk(child, f"{key}.") if part.row is None]
        for entries in _entries(inside):
            own.update({Owner(path, name, level, key): place for key, place in entries.items()})
    return own


def bare(module: nn.Module) -> nn.Module:
    """Return the model inside of any wrappers at the root."""
    while (inner := _inside(module)) is not None:
        module = inner[1]
    return module


def model_class(module: nn.Module) -> type[nn.Module]:
    """Return the class of the model inside any wrappers; of a ``fully_shard``ed one, the class that it had before."""
    classes = type(bare(module)).__mro__
    # `fully_shard` makes a class of (FSDPModule, the model's class) and gives it to the object.
    added = next((number for number, cls in enumerate(classes) if _is_fsdp2(cls)), None)
    found: type[nn.Module] = classes[0] if added is None else classes[added + 1]
    return found


def is_sharded(module: nn.Module) -> bool:
    """Whether each rank holds only a part of the parameters (FSDP)."""
    return is_fsdp1(module) or any(_is_sharded_class(class_of(part)) for _, part in parts(module))


def is_fsdp1(module: nn.Module) -> bool:
    """Whether something in a module is wrapped by ``FullyShardedDataParallel``, which flattens its parameters."""
    rows = (_wrapper_of(class_of(part)) for _, part in parts(module))
    return any(row is not None and _FSDP1 in row.types for row in rows)


def _inside(module: nn.Module) -> tuple[Wrapper, nn.Module] | None:
    """Return which wrapper a module is, and what it wraps; nothing of any other module."""
    row = _wrapper_of(class_of(module))
    if row is None:
        return None
    child = module.__dict__["_modules"].get(row.component)
    return None if child is None else (row, child)


@cache
def _wrapper_of(kind: type[Any]) -> Wrapper | None:
    """Return the wrapper that a class is, or one that it derives from."""
    names = [f"{parent.__module__}.{parent.__qualname__}" for parent in kind.__mro__]
    return next((row for name in names for row in WRAPPERS if name in row.types), None)


def _custom_class(steps: list[Step]) -> str:
    """Return the name of a class whose state dict is more than its registered tensors, or an empty text."""
    inside = [part for part, _, _, row in steps if row is None]
    for part in inside:
        if _has_custom_class(class_of(part)):
            return type(part).__name__
    hooked = [part for part in inside if any(map(part.__dict__.get, _HOOKS))]
    # FSDP2 hooks every module whose parameters it gives out, to keep them given out: that is no loading of its own
    if hooked and not any(_is_sharded_class(class_of(step.module)) for step in steps):
        return type(hooked[0]).__name__
    return ""


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
    return any(map(_is_fsdp2, kind.__mro__))


def _is_fsdp2(cls: type) -> bool:
    """Whether a class is FSDP2's own, which moved between torch's modules from release to release."""
    return cls.__name__ == "FSDPModule" and cls.__module__.startswith("torch.distributed.")
