"""A module asked in torch's own words, whatever its class means by them.

Published classes keep a list as ``self.modules``, a configuration as ``self.parameters``, or train themselves in a
method called ``train``. So modules are walked by torch's registries, which no class replaces, and a method of torch is
looked up past what is data under its name. A class's own ``state_dict``, ``to`` or ``train(mode)`` is its right.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import MethodType
from typing import Any

import torch
from torch import nn

_SAVING = ("state_dict", "get_extra_state")
_WALKING = ("children", "named_children")
_MOVING = ("to", "_apply", *_WALKING)


def parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module in a module with its path, itself first, each once: what ``named_modules`` does."""
    seen: set[int] = set()

    def walk(part: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
        if id(part) in seen:
            return
        seen.add(id(part))
        yield path, part
        for name, child in part.__dict__["_modules"].items():
            if child is not None:
                yield from walk(child, f"{path}.{name}" if path else name)

    yield from walk(module, "")


def named_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return every parameter, each once, in torch's order."""
    return _named(module, "_parameters")


def parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return every parameter once."""
    return list(_named(module, "_parameters").values())


def tensors(module: nn.Module) -> list[torch.Tensor]:
    """Return every parameter and every buffer once."""
    return [*_named(module, "_parameters").values(), *_named(module, "_buffers").values()]


def _named(module: nn.Module, registry: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for path, part in parts(module):
        for name, tensor in part.__dict__[registry].items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"{path}.{name}" if path else name] = tensor
    return found


def state_dict(module: nn.Module, **options: Any) -> Any:
    """Return a module's state dict, by its own way where its class has one."""
    with unshadowed(module, *_SAVING):
        return method(module, "state_dict")(**options)


def move(module: nn.Module, device: torch.device | str) -> None:
    """Put a module on a device, where it can be trained also if it was put there in inference mode."""
    with torch.inference_mode(False), unshadowed(module, *_MOVING):
        method(module, "to")(device)


def is_training(module: nn.Module) -> bool:
    """Whether a module is in training mode by torch's own flag; what else a class calls ``training`` is not it."""
    if isinstance(module, torch.jit.ScriptModule):  # which keeps it elsewhere
        return module.training
    return module.__dict__.get("training") is True


def set_mode(module: nn.Module, training: bool) -> nn.Module:
    """Put a module into training or evaluation mode, by its own ``train(mode)`` where its class has one."""
    if isinstance(module, torch.jit.ScriptModule) or _sets_mode(type(module).train):
        with unshadowed(module, "train", *_WALKING):
            type(module).train(module, training)
        return module
    if isinstance(module.__dict__.get("training"), bool):
        module.__dict__["training"] = training
    for child in module.__dict__["_modules"].values():
        if child is not None:
            set_mode(child, training)
    return module


def _sets_mode(train: Any) -> bool:
    """Whether what a class calls ``train`` sets the mode in a way of its own, and is not, say, its training loop."""
    if train is nn.Module.train or not callable(train):
        return False
    try:
        taken = [*inspect.signature(train).parameters.values()][1:]
    except (ValueError, TypeError):
        return False
    required = [p for p in taken if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return len(required) <= 1 and any(p.name == "mode" or p.kind is p.VAR_POSITIONAL for p in taken)


def method(module: nn.Module, name: str) -> Callable[..., Any]:
    """Return a method of torch as the object or its class has it, or torch's own where they keep data there."""
    own: Callable[..., Any] | None = module.__dict__.get(name)
    if callable(own):
        return own
    found = getattr(type(module), name)
    return partial(found if callable(found) else getattr(nn.Module, name), module)


@contextmanager
def unshadowed(module: nn.Module, *names: str) -> Iterator[None]:
    """Let torch find its own methods on every part of a module, where the part keeps data under their names.

    Args:
        names: the methods that are going to be called; all that torch has by default.
    """
    hidden: list[tuple[dict[str, Any], str, Any]] = []
    wanted = frozenset(names or _methods())
    for _, part in parts(module):
        own = part.__dict__
        data = [name for name in wanted & own.keys() if not callable(own[name])]
        for name in (*data, *(_data_of(class_of(part), wanted) - own.keys())):
            hidden.append((own, name, own.get(name, hidden)))
            own[name] = MethodType(getattr(nn.Module, name), part)
    try:
        yield
    finally:
        for own, name, value in reversed(hidden):
            if value is hidden:  # it was the class's
                own.pop(name, None)
            else:
                own[name] = value


def class_of(module: nn.Module) -> Any:
    """Return the class, which mypy takes for unhashable, as the key of a cache."""
    return type(module)


@cache
def _data_of(kind: type[Any], names: frozenset[str]) -> frozenset[str]:
    """Return those names under which a class keeps data, or something else by which torch would walk astray."""
    return frozenset(
        name
        for name in names
        if not callable(found := getattr(kind, name, None))
        or (name in _WALKING and not str(getattr(found, "__module__", "")).startswith("torch."))
    )


@cache
def _methods() -> tuple[str, ...]:
    own = [name for name, value in vars(nn.Module).items() if inspect.isfunction(value)]
    return tuple(name for name in own if not name.startswith("__") and name != "forward")
