"""Everything in a module that its state dict does not hold, described so that two builds can be compared."""

from __future__ import annotations

import enum
import functools
import random
import re
import types
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import torch
from blake3 import blake3
from torch import nn

from registry.models.bits import digest
from registry.models.slots import layout

_MOST_PARTS = 1_000_000
"""A module that refers to more is not described; its constructor holds something that is no model."""

_PLAIN = (bool, int, float, complex, str, bytes, types.NoneType, enum.Enum, PurePath, range, slice, re.Pattern)
_TORCH_PLAIN = (torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format)
_CODE = (type, types.ModuleType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
_INERT = frozenset(
    {
        "logging.Logger",
        "_thread.lock",
        "_thread.RLock",
        "torch.utils.hooks.RemovableHandle",  # numbered through the process, so no two are equal
        "torch._jit_internal.ScriptFunction",
        "torch._C.ScriptFunction",
    }
)
"""Types whose content never comes from the values of parameters."""

_REGISTRIES = ("_parameters", "_buffers", "_modules")


class Unprovable(Exception):
    """Something in a module cannot be compared with its like in another build."""


@dataclass(frozen=True)
class Fingerprint:
    """Descriptions by path; equal for two modules that differ at most in the values of their state dicts."""

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        hasher = blake3()
        for path, description in self.parts.items():
            hasher.update(f"{len(path)}:{path}={len(description)}:{description}\n".encode(errors="surrogatepass"))
        return hasher.hexdigest()

    def first_difference(self, other: Fingerprint) -> str:
        """Return the path of the first part that differs; empty if none does."""
        for path, description in self.parts.items():
            if other.parts.get(path) != description:
                return path
        return next((path for path in other.parts if path not in self.parts), "")


def fingerprint(module: nn.Module) -> Fingerprint:
    """Describe types, attributes, non-persistent buffers and stray tensors, through containers and objects.

    Raises:
        Unprovable: something is opaque, shares memory with a tensor of the state dict, or has no values.
    """
    describer = _Describer(module)
    describer.describe(module, "")
    return Fingerprint(describer.parts)


class _Describer:
    def __init__(self, root: nn.Module) -> None:
        self.parts: dict[str, str] = {}
        self._seen: dict[int, str] = {}
        self._alive: list[Any] = []
        """What was seen, so that no other object takes its id."""
        self._memory: dict[int, str] = {}
        for name, slot in layout(root).slots.items():
            tensor = slot.tensor
            self._note(tensor, name)
            self.parts[f"tensor {name}"] = f"{type(tensor)}{tensor.dtype}{tensor.shape}{tensor.requires_grad}"
            if not tensor.is_meta and tensor.numel():
                self._memory[tensor.untyped_storage().data_ptr()] = name
            self._describe_items(vars(tensor), f"{name} as a tensor")

    def describe(self, value: Any, path: str) -> None:
        if len(self.parts) > _MOST_PARTS:
            raise Unprovable(f"'{path}' leads to too many objects to compare")
        if isinstance(value, (*_PLAIN, *_TORCH_PLAIN)):
            self.parts[path] = f"{type(value).__qualname__}:{value!r}"
        elif isinstance(value, _CODE):
            self.parts[path] = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
        elif id(value) in self._seen:
            self.parts[path] = f"is {self._seen[id(value)]}"
        else:
            self._note(value, path)
            self.parts[path] = _type_name(value)
            self._describe_object(value, path)

    def _note(self, value: Any, path: str) -> None:
        self._seen.setdefault(id(value), path)
        self._alive.append(value)

    def _describe_object(self, value: Any, path: str) -> None:
        if isinstance(value, torch.Tensor):
            self._describe_tensor(value, path)
        elif isinstance(value, nn.Module):
            self._describe_module(value, path)
        elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            self._describe_callable(value, path)
        elif isinstance(value, torch.Generator):
            self.parts[path] = digest(value.get_state())
        elif isinstance(value, random.Random):
            self.parts[path] = repr(value.getstate())
        elif isinstance(value, weakref.ReferenceType):
            self.describe(value(), f"{path}()")
        elif type(value).__module__ == "numpy":
            self._describe_numpy(value, path)
        elif _type_name(value) not in _INERT:
            self._describe_members(value, path)

    def _describe_tensor(self, tensor: torch.Tensor, path: str) -> None:
        if type(tensor) not in (torch.Tensor, nn.Parameter) or tensor.layout != torch.strided or tensor.is_quantized:
            raise Unprovable(f"'{path}' is a {type(tensor).__name__} that is not in the state dict")
        if tensor.is_meta:
            raise Unprovable(f"'{path}' is computed from parameters and not in the state dict")
        if tensor.numel() and (owner := self._memory.get(tensor.untyped_storage().data_ptr())):
            raise Unprovable(f"'{path}' is not in the state dict and shares memory with '{owner}'")
        self.parts[path] = f"{type(tensor)}{tensor.requires_grad}{tensor.device}{tensor.stride()}{digest(tensor)}"
        self._describe_items(vars(tensor), path)

    def _describe_module(self, module: nn.Module, path: str) -> None:
        for name, value in vars(module).items():
            where = f"{path}.{name}" if path else name
            if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")) and isinstance(value, dict):
                self._describe_each(value.values(), where)  # the keys are numbered through the process
            elif name not in _REGISTRIES:
                self.describe(value, where)
        for name in _REGISTRIES:
            for key, value in vars(module)[name].items():
                self.describe(value, f"{path}.{key}" if path else key)

    def _describe_callable(self, value: Any, path: str) -> None:
        if isinstance(value, types.MethodType):
            self.parts[path] = f"method {value.__func__.__qualname__}"
            self.describe(value.__self__, f"{path}.__self__")
        elif isinstance(value, functools.partial):
            self._describe_each([value.func, value.args, value.keywords], path)
        else:
            self.parts[path] = f"function {value.__module__}.{value.__qualname__}"
            cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            self._describe_each([value.__defaults__, value.__kwdefaults__, cells], path)

    def _describe_numpy(self, value: Any, path: str) -> None:
        if hasattr(value, "tobytes") and hasattr(value, "dtype") and not value.dtype.hasobject:
            self.parts[path] = f"{value.dtype}{value.shape}{blake3(value.tobytes()).hexdigest()}"
        else:
            raise Unprovable(f"'{path}' is a {_type_name(value)}, which cannot be compared")

    def _describe_members(self, value: Any, path: str) -> None:
        known = False
        if isinstance(value, Mapping):
            known = True
            self._describe_items(value, path)
        elif isinstance(value, (set, frozenset)):
            known = True
            if not all(isinstance(element, _PLAIN) for element in value):
                raise Unprovable(f"'{path}' is a set of objects, which has no order to compare in")
            self.parts[path] += repr(sorted(map(repr, value)))
        elif isinstance(value, (list, tuple, deque)):
            known = True
            self._describe_each(value, path)
        members = _members(value)
        if members is None and not known:
            raise Unprovable(f"'{path}' is a {_type_name(value)}, which cannot be compared")
        self._describe_items(members or {}, path)

    def _describe_items(self, items: Mapping[Any, Any], path: str) -> None:
        for index, (key, value) in enumerate(items.items()):
            if isinstance(key, _PLAIN):
                self.describe(value, f"{path}[{key!r}]")
            else:
                self._describe_each([key, value], f"{path}[{index}]")

    def _describe_each(self, values: Iterable[Any], path: str) -> None:
        for index, value in enumerate(values):
            self.describe(value, f"{path}[{index}]")


def _members(value: Any) -> dict[str, Any] | None:
    """Return an object's attributes; None if it has no place for any, so that its content cannot be seen."""
    slots = [name for kind in type(value).__mro__ for name in _listed(kind.__dict__.get("__slots__"))]
    if not hasattr(value, "__dict__") and not slots and type(value) is not object:
        return None
    return {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})


def _listed(slots: Any) -> Iterable[str]:
    names = [slots] if isinstance(slots, str) else list(slots or ())
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not NotImplemented
    except ValueError:
        return False


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
