"""What differs between two versions, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.home.home import Home
from registry.tensors.manifest import Manifest
from registry.tensors.spec import TensorSpec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TensorChange:
    """One tensor that both versions have and that is not equal."""

    name: str
    before: TensorSpec
    after: TensorSpec
    norm: float | None
    """L2 norm of the difference; None where the shapes differ."""
    relative: float | None
    """That norm over the L2 norm of the tensor before; None where that is zero or the shapes differ."""
    largest: float | None
    """Largest absolute difference of one element."""


@dataclass(frozen=True)
class Difference:
    """What leads from version ``a`` to version ``b``."""

    a: str
    b: str
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    changed: tuple[TensorChange, ...]
    equal: int
    """Tensors that are the same in both, bit for bit."""


def diff(home: Home, a: str, b: str) -> Difference:
    """Compare two versions; tensors that are equal by their digests are not read.

    Raises:
        RegistryError: there is no such version, or its bytes are not what was stored.
    """
    first, second = home.resolve(a), home.resolve(b)
    before, after = home.manifest(first), home.manifest(second)
    names = changed_names(before, after)
    old = home.tensors(first, before.only(names))
    new = home.tensors(second, after.only(names))
    return compare((first.ref, before), (second.ref, after), {name: (old[name], new[name]) for name in names})


def changed_names(a: Manifest, b: Manifest) -> list[str]:
    """Return the names that both have with different digests; no tensor is read for this."""
    return [name for name, tensor in a.tensors.items() if name in b.tensors and tensor.digest != b.tensors[name].digest]


def compare(
    a: tuple[str, Manifest], b: tuple[str, Manifest], values: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
) -> Difference:
    """Compare two manifests; ``values`` has both tensors of every changed name, as (before, after)."""
    (a_ref, before), (b_ref, after) = a, b
    changed = [
        _change(name, before.tensors[name].spec, after.tensors[name].spec, *values[name])
        for name in changed_names(before, after)
    ]
    return Difference(
        a=a_ref,
        b=b_ref,
        only_a=tuple(name for name in before.tensors if name not in after.tensors),
        only_b=tuple(name for name in after.tensors if name not in before.tensors),
        changed=tuple(changed),
        equal=sum(name in after.tensors for name in before.tensors) - len(changed),
    )


def _change(name: str, before: TensorSpec, after: TensorSpec, old: torch.Tensor, new: torch.Tensor) -> TensorChange:
    if before.shape != after.shape:
        return TensorChange(name, before, after, None, None, None)
    import torch

    # Complex differences have their own norm; everything else is compared in double, where no dtype overflows.
    wide = torch.complex128 if old.is_complex() or new.is_complex() else torch.float64
    difference = new.to(wide) - old.to(wide)
    norm, base = float(difference.norm()), float(old.to(wide).norm())
    largest = float(difference.abs().max()) if difference.numel() else 0.0
    return TensorChange(name, before, after, norm, norm / base if base else None, largest)
