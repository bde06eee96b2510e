"""How much memory a library may take while it makes a model: the sizes in a configuration are a stranger's.

Every operation is looked at before it is done. Parameters are made empty, which takes none until they are written to,
and where they are left without values it takes none at all; what is computed, such as masks and tables of positions,
is small beside them in every model that is published.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map

from registry.errors.libraries import LibraryRefused
from registry.errors.root import size
from registry.modules.building.deferral import current

MOST_AT_ONCE = 2 << 30
"""Bytes that one operation may compute."""
MOST_COMPUTED = 8 << 30
"""Bytes that all of them may, of which most are let go again."""
MOST_MAPPED = 16
"""Times the memory of the machine that a model may have whose weights are mapped."""
_SMALL = 1 << 21
"""Elements up to which nobody looks closely."""


class Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what would take more memory than making any model does."""

    def __init__(self, builder: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._builder = builder
        self._computed = 0
        self._empty = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if not func._schema.is_mutable and not func.is_view and _at_most(func, args, given) > _SMALL:
            self._charge(func, args, given)
        return func(*args, **given)

    def _charge(self, func: Any, args: Sequence[Any], given: dict[str, Any]) -> None:
        nbytes = _nbytes(func, args, given)
        if "empty" not in func.__name__:
            self._computed += nbytes
            if nbytes > MOST_AT_ONCE or self._computed > MOST_COMPUTED:
                raise LibraryRefused(self._builder, f"{size(max(nbytes, self._computed))} would be computed for it")
            return
        self._empty += nbytes
        # Where no values are going to be written, they take addresses alone.
        most = _memory() * (1 if current() is None else MOST_MAPPED)
        if self._empty > most:
            raise LibraryRefused(self._builder, f"it would have {size(self._empty)}, too much for this machine")


def _at_most(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> float:
    """Return how many elements come of an operation at most: every input with every other, as often as it says."""
    found = 1.0
    for value in _values([*args, *given.values()]):
        found *= max(value.numel() if isinstance(value, torch.Tensor) else abs(value), 1)
    return found**2 if func.__name__.startswith("eye") else found  # the one that is said by its side


def _values(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _values(value)
        elif isinstance(value, torch.Tensor) or (isinstance(value, (int, float)) and math.isfinite(value)):
            yield value


def _nbytes(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> int:
    """Return the bytes of what an operation makes, found without memory; 0 where it cannot be told or will fail."""

    def on_meta(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
        return torch.device("meta") if isinstance(value, torch.device) else value

    try:
        with _disable_current_modes():
            made = func(*tree_map(on_meta, args), **tree_map(on_meta, dict(given)))
    except Exception:  # whatever the operation itself will say
        return 0
    tensors = made if isinstance(made, (list, tuple)) else [made]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, torch.Tensor))


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
