"""What a module holds outside of its state dict, which no load gives values: buffers that are not saved, attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from registry.modules.building import process_state as generators
from registry.modules.building.entropy import noticed
from registry.modules.building.prints import fingerprint, is_array
from registry.modules.building.reachable import reachable
from registry.modules.layout import Layout, layout


def outside(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return tensors by path, through modules in lists, containers, closures and objects.

    Returns:
        ``{"rope.inverse": tensor, "target.0.weight": tensor}``; what stands there twice, once.
    """
    found = reachable(module, layout(module))
    return {path: value for path, value, _, _ in found if isinstance(value, torch.Tensor)}


def on_meta(module: nn.Module, found: Layout) -> tuple[str, ...]:
    """Return the paths of tensors outside of a module's state dict that have no values, being on the meta device."""
    parts = found.parts
    if not any(b is not None and b.is_meta for _, part in parts for b in part.__dict__["_buffers"].values()):
        return ()
    return tuple(path for path, value in outside(module).items() if value.is_meta)


def drawn(module: nn.Module, construct: Callable[[], nn.Module], before: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of what a module holds outside of its state dict that comes from random generators.

    The class is constructed once more with the generators elsewhere. What differs then was drawn, or computed from
    initial weights that were; or it is a number that a counter gave, a time, an address. So it is constructed a third
    time, from where the generators stood at first: what was drawn is the same again. What a class drew from the
    operating system never is, and it is noticed that it did.

    Args:
        construct: constructs it again.
        before: where the generators stood when it was constructed.
    """
    first = _noted(module)
    generators.restore(generators.elsewhere(before))
    with noticed() as sources:
        second = _noted(construct())
    differing = [path for path in {**first, **second} if first.get(path) != second.get(path)]
    if not differing:
        return ()
    generators.restore(before)
    third = _noted(construct())  # while the first lives, so that its addresses are not given out again
    return tuple(_random(differing, first, second, third, bool(sources)))


@dataclass(frozen=True)
class _Note:
    value: str
    is_tensor: bool
    is_shared: bool


def _noted(module: nn.Module) -> dict[str, _Note]:
    """Return what a module refers to by path, as texts: another construction may write to what it shares."""
    notes: dict[str, _Note] = {}
    for path, value, is_leaf, is_shared in reachable(module, layout(module), shared=True):
        before = notes[path].value if path in notes else ""
        is_tensor = isinstance(value, torch.Tensor) or is_array(value)
        notes[path] = _Note(before + fingerprint(value, is_leaf=is_leaf), is_tensor, is_shared)
    return notes


def _random(
    differing: list[str],
    first: Mapping[str, _Note],
    second: Mapping[str, _Note],
    third: Mapping[str, _Note],
    asked_elsewhere: bool,
) -> Iterator[str]:
    is_alike = first.keys() == third.keys()
    for path in differing:
        if path not in first:  # a longer list; or a name that only this one has, as every one has another
            is_random = is_alike
        else:
            # A tensor of the model's own that is another every time is nothing that a counter or a clock gives.
            is_own_tensor = first[path].is_tensor and not first[path].is_shared
            is_random = first[path] == third.get(path) or is_own_tensor or asked_elsewhere
        if is_random:
            yield path
