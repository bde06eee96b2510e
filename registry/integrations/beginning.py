"""The beginning of a training: whether its model still holds what was loaded into it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

from torch import nn

from registry.errors.catalog import PurgedVersion, TrashedVersion, UnknownModel, UnknownVersion
from registry.errors.checkpoints import UnencodableValue
from registry.errors.warned import warn
from registry.modules.layout import bare
from registry.modules.origin import Origin, loaded_from, part_loaded
from registry.ranks import collective as ranks
from registry.registry import Registry, default_registry

_begun: dict[int, tuple[weakref.ref[nn.Module], Origin]] = {}
"""Models that were confirmed once, by id, and the load that they were confirmed for: now they are being trained."""


def confirm_loaded(model: nn.Module, hub: Registry) -> None:
    """Raise if a model, or a part of it that was loaded by itself, has other weights than were put there.

    Between a load and the training a base class, a framework or a copied line may initialize weights anew; every name
    is still right, and the training starts from noise. In a job every rank calls it. A load is confirmed once: when a
    training begins again, the weights are trained ones.

    Args:
        hub: where the versions are looked up, and then in the default registry.

    Raises:
        WeightsDiffer: naming the tensors.
        OtherRankFailed: they differ on another rank.
    """
    parts = list(_loaded_parts(model))
    if not ranks.in_job():
        for part, origin in parts:
            _confirm(part, origin, hub)
        return
    doing = "checking the loaded weights"
    everywhere = ranks.gathered(doing, [tuple(origin) for _, origin in parts])
    if any(origins != everywhere[0] for origins in everywhere):
        return  # ranks that did not load the same cannot be asked together
    for part, origin in parts:
        ranks.together(doing, lambda part=part, origin=origin: _confirm(part, origin, hub))  # type: ignore[misc]


def _loaded_parts(model: nn.Module) -> Iterator[tuple[nn.Module, Origin]]:
    """Yield every module that was loaded since it was last confirmed, wrappers left out."""
    seen: set[int] = set()
    for _, module in nn.Module.named_modules(model):
        inner, origin = bare(module), loaded_from(module)
        if origin is None or id(inner) in seen:
            continue
        seen.add(id(inner))
        known = _begun.get(id(inner))
        if known is None or known[0]() is not inner or known[1] is not origin:
            yield inner, origin


def _confirm(module: nn.Module, origin: Origin, hub: Registry) -> None:
    for place in dict.fromkeys((hub, default_registry())):
        try:
            entry = place.get(origin.ref)
        except (UnknownModel, UnknownVersion, TrashedVersion, PurgedVersion):
            continue
        if entry.digest == origin.digest:
            try:
                place.check(module, entry.ref, part=part_loaded(module)).require_loaded()
            except UnencodableValue as error:
                _warn(origin, str(error))
            _begun[id(module)] = (weakref.ref(module), origin)
            return
    _warn(origin, f"it is not in {hub!r}")


def _warn(origin: Origin, why: str) -> None:
    warn(f"the model was loaded from {origin.ref}, and its weights were not checked: {why}")
