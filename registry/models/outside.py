"""What a module holds outside of its state dict, which no load gives values: buffers that are not saved, attributes."""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from registry.models.bits import same_bits
from registry.models.slots import Layout, layout

_MOST_OBJECTS = 1_000_000
"""A module that refers to more is looked at as far as that."""

_INERT = (bool, int, str, bytes, types.NoneType, type, types.ModuleType, torch.dtype, torch.device, torch.Size)
_REGISTRIES = ("_modules", "_parameters", "_buffers")


def outside(module: nn.Module) -> dict[str, Any]:
    """Return tensors, arrays and numbers by path, through modules in lists, containers, closures and objects.

    Returns:
        ``{"rope.inverse": tensor, "target.0.weight": tensor, "scale": 0.5}``; what stands there twice, once.
    """
    seen = {id(slot.tensor) for slot in layout(module).slots.values()}
    found: dict[str, Any] = {}
    queue: deque[tuple[str, Any]] = deque([("", module)])
    while queue and len(seen) < _MOST_OBJECTS:
        path, value = queue.popleft()
        if isinstance(value, _INERT):
            continue
        if isinstance(value, (float, complex)):
            found[path] = value
        elif id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, torch.Tensor) or (type(value).__module__ == "numpy" and hasattr(value, "tobytes")):
                found[path] = value
            else:
                queue.extend((f"{path}.{name}" if path else name, member) for name, member in _members(value))
    return found


def drawn_anew(module: nn.Module, other: nn.Module) -> tuple[str, ...]:
    """Return the paths of what two builds of one class hold outside of their state dicts with different values."""
    first, second = outside(module), outside(other)
    return tuple(path for path, value in first.items() if path not in second or not _agree(value, second[path]))


def on_meta(module: nn.Module, found: Layout) -> tuple[str, ...]:
    """Return the paths of tensors outside of a module's state dict that have no values, being on the meta device."""
    parts = found.parts
    if not any(b is not None and b.is_meta for _, part in parts for b in part.__dict__["_buffers"].values()):
        return ()
    return tuple(path for path, value in outside(module).items() if isinstance(value, torch.Tensor) and value.is_meta)


def _agree(value: Any, other: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return isinstance(other, torch.Tensor) and _hold_the_same(value, other)
    if isinstance(value, (float, complex)):
        return repr(value) == repr(other)
    return bool(type(value) is type(other) and value.tobytes() == other.tobytes())


def _hold_the_same(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    with torch.no_grad():
        if tensor.is_meta or other.is_meta or tensor.layout is not torch.strided or tensor.is_quantized:
            return True
        return tensor.shape == other.shape and tensor.dtype == other.dtype and same_bits(tensor, other)


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, nn.Module):
        recomputed = _recomputed(value)
        for registry in _REGISTRIES:
            yield from vars(value)[registry].items()
        yield from (pair for pair in vars(value).items() if pair[0] not in _REGISTRIES and pair[0] not in recomputed)
    elif isinstance(value, Mapping):
        # Not by other keys, such as those of hooks, which are numbered through the process.
        pairs = enumerate(value.items())
        yield from ((key if isinstance(key, str) else str(index), member) for index, (key, member) in pairs)
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        yield from ((str(index), member) for index, member in enumerate(value))
    elif isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        yield from _numbered([*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells])
    elif isinstance(value, types.MethodType):
        yield "__self__", value.__self__
    elif isinstance(value, functools.partial):
        yield from _numbered([value.func, *value.args, *value.keywords.values()])
    else:
        yield from getattr(value, "__dict__", {}).items()
        slots = [slot for kind in type(value).__mro__ for slot in _listed(kind.__dict__.get("__slots__"))]
        yield from ((name, getattr(value, name)) for name in slots if hasattr(value, name))


def _recomputed(module: nn.Module) -> set[str]:
    """Return the attributes that weight normalization, spectral normalization or pruning compute at every call."""
    hooks = [h for h in vars(module)["_forward_pre_hooks"].values() if type(h).__module__.startswith("torch.nn.utils.")]
    return {str(getattr(hook, name)) for hook in hooks for name in ("name", "_tensor_name") if hasattr(hook, name)}


def _numbered(values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((str(index), value) for index, value in enumerate(values))


def _listed(slots: Any) -> list[str]:
    names = [slots] if isinstance(slots, str) else list(slots or ())
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not NotImplemented
    except ValueError:
        return False
