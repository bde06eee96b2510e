"""What a version keeps of its wrappers, put into the wrappers of a module: ``n_averaged`` of an ``AveragedModel``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from registry.errors.models import DtypeMismatch, ExtraStateRefused, ShapeMismatch, first_line
from registry.modules.fitting.assignment import write
from registry.modules.fitting.plan import Allowances, castable, matches
from registry.modules.fitting.report import LoadReport
from registry.modules.layout import Layout, Slot, owned
from registry.tensors.memory import dtype_name, spec_of
from registry.tensors.wrapper_value import Owner


@dataclass(frozen=True)
class WrapperPlan:
    """Which wrapper values go where."""

    tensors: Mapping[Owner, Slot] = field(default_factory=dict)
    extra_states: Mapping[Owner, nn.Module] = field(default_factory=dict)
    not_used: tuple[str, ...] = ()
    """Values of wrappers that the module does not have."""
    kept: tuple[str, ...] = ()
    """Values of the module's wrappers that the entry does not have."""
    reshaped: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    lacks_values: bool = False
    """Whether one that is kept is on meta, so that the module has to be built with its initial values."""

    def told(self, report: LoadReport) -> LoadReport:
        """Return a report that says so."""
        notice = f"kept by the wrapper, since the entry has none: {', '.join(self.kept)}"
        return replace(
            report,
            not_used=self.not_used,
            reshaped={**report.reshaped, **self.reshaped},
            notices=(*report.notices, notice) if self.kept else report.notices,
        )


def plan_wrappers(found: Layout, values: Mapping[Owner, Any], allowed: Allowances) -> WrapperPlan:
    """Decide which values the same wrapper at the same path gets back.

    Raises:
        ShapeMismatch, DtypeMismatch: it is there and holds a tensor of another kind under that name.
    """
    own = owned(found)
    tensors: dict[Owner, Slot] = {}
    extra_states: dict[Owner, nn.Module] = {}
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for owner, value in values.items():
        place = own.get(owner)
        if isinstance(place, nn.Module):
            extra_states[owner] = place
        elif place is not None and isinstance(value, torch.Tensor) and not is_lazy(place.tensor):
            if value.shape != place.tensor.shape and matches(str(owner), allowed.shape):
                reshaped[str(owner)] = (tuple(value.shape), tuple(place.tensor.shape))
            else:
                _check(owner, place, value, allowed.cast)
                tensors[owner] = place
    kept = {owner: place for owner, place in own.items() if owner not in tensors and owner not in extra_states}
    return WrapperPlan(
        tensors,
        extra_states,
        tuple(str(o) for o in values if o not in tensors and o not in extra_states and str(o) not in reshaped),
        tuple(str(owner) for owner in kept if str(owner) not in reshaped),
        reshaped,
        any(isinstance(place, Slot) and place.tensor.is_meta for place in kept.values()),
    )


def give_back(plan: WrapperPlan, values: Mapping[Owner, Any]) -> None:
    """Put the values into the wrappers.

    Raises:
        ExtraStateRefused: a wrapper's ``set_extra_state`` raised.
    """
    with torch.inference_mode(False), torch.no_grad():
        for owner, slot in plan.tensors.items():
            write(slot.tensor, values[owner].to(slot.tensor.dtype))
        for owner, module in plan.extra_states.items():
            try:
                module.set_extra_state(values[owner])
            except Exception as error:
                model = type(module).__name__
                raise ExtraStateRefused(model, str(owner), type(error).__name__, first_line(error)) from error


def _check(owner: Owner, place: Slot, value: torch.Tensor, cast: str | None) -> None:
    model, want = type(place.owner).__name__, spec_of(place.tensor)
    if tuple(value.shape) != want.shape:
        raise ShapeMismatch(model, [(str(owner), tuple(value.shape), want.shape)])
    got = dtype_name(value.dtype)
    if got != want.dtype and not (cast and castable(got, want.dtype)):
        raise DtypeMismatch(model, [(str(owner), got, want.dtype)], castable(got, want.dtype))
