"""Which version a module was loaded from, as long as the module lives."""

from __future__ import annotations

import weakref
from typing import NamedTuple

from torch import nn

from registry.modules.layout import bare


class Origin(NamedTuple):
    """The version whose weights were put into a module."""

    ref: str
    """``"pointnet:v3"``."""
    digest: str
    """Of the version's weights."""


_origins: dict[int, tuple[weakref.ref[nn.Module], Origin, bool, str | None]] = {}
"""By id, since a class may say that its modules are equal, or cannot be hashed; with whether a job was resumed, and
which part of the version it is."""


def loaded_from(module: nn.Module) -> Origin | None:
    """Return the version that the last ``load`` or ``resume`` put into a module, or None.

    A wrapper (DistributedDataParallel, ``torch.compile``, ...) is asked for the model inside. What was trained since is
    still loaded from there, and a copy of the module is not; whether the weights are still those, ``registry.check``
    tells.
    """
    inner = bare(module)
    known = _origins.get(id(inner))
    return known[1] if known is not None and known[0]() is inner else None


def part_loaded(module: nn.Module) -> str | None:
    """Return which part of the version a module is that it was loaded from, where that has several."""
    inner = bare(module)
    known = _origins.get(id(inner))
    return known[3] if known is not None and known[0]() is inner else None


def resumed_from(module: nn.Module) -> Origin | None:
    """Return the version whose job goes on with a module, or None where the last thing put there was a ``load``."""
    inner = bare(module)
    known = _origins.get(id(inner))
    return known[1] if known is not None and known[0]() is inner and known[2] else None


def set_origin(module: nn.Module, ref: str, digest: str, *, part: str | None = None, resumed: bool = False) -> None:
    """Note that a module, or the model inside of its wrappers, was loaded from a version, or its job resumed."""
    inner = bare(module)
    number = id(inner)

    def forget(dead: weakref.ref[nn.Module]) -> None:
        if (known := _origins.get(number)) is not None and known[0] is dead:
            del _origins[number]

    _origins[number] = (weakref.ref(inner, forget), Origin(ref, digest), resumed, part)
