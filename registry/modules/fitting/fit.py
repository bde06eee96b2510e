"""From weights to a module that holds them: all checks, then assignment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from registry.errors.models import (
    BrokenTie,
    CastNotFloating,
    CastOverflows,
    FitError,
    MetaOutside,
    MissingTensors,
    RandomOutside,
    ShapeMismatch,
    UnexpectedTensors,
)
from registry.modules.anatomy import move
from registry.modules.building.build import Built
from registry.modules.building.outside import on_meta
from registry.modules.building.process_state import gc_paused
from registry.modules.fitting import assignment
from registry.modules.fitting.expectation import expect_of
from registry.modules.fitting.landing import Landing
from registry.modules.fitting.laziness import check_lazy
from registry.modules.fitting.memory import check_places
from registry.modules.fitting.own_loading import load_as_the_class_does
from registry.modules.fitting.plan import Allowances, Content, Plan, is_real_float, make_plan, reported, unmatched
from registry.modules.fitting.rehearsal import plan_by_class
from registry.modules.fitting.report import LoadReport
from registry.modules.fitting.rollback import undone_on_failure
from registry.modules.fitting.wrapping import WrapperPlan, give_back, plan_wrappers
from registry.modules.layout import Layout, bare, layout
from registry.tensors.memory import dtype_name, same_bits, spec_of
from registry.tensors.ties import broken, separate
from registry.tensors.wrapper_value import Owner


@gc_paused()
def fit(
    target: Built | nn.Module,
    weights: Mapping[str, torch.Tensor],
    *,
    ties: Sequence[Sequence[str]] = (),
    values: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    allow_shape: Sequence[str] = (),
    wrapped: Mapping[Owner, Any] | None = None,
    cast: torch.dtype | None = None,
    device: torch.device | str | None = None,
    check: Callable[[], None] = lambda: None,
) -> LoadReport:
    """Put an entry's weights into a module that was just built, or into the caller's own.

    What was just built takes the tensors as they are, without a copy, if it was built fast; it is ``target.module``
    afterwards, since it may have to be built again. The caller's module keeps its parameter objects, ties, hooks,
    devices and ``requires_grad``: values are copied into it, and if anything fails it is bit for bit what it was. What
    interrupts the copy itself is raised after it, when the module holds all of the weights.

    Args:
        weights: tensors by canonical name; those of a fast build become the module's own memory.
        ties: groups of names that are one tensor in the entry.
        values: the entry's values that are no tensors (``_extra_state``), by canonical name.
        metadata: the ``_metadata`` of the saved state dict, where the file had it.
        allow_missing: patterns (``fnmatch``) of names that may keep their initial value.
        allow_unexpected: patterns of names of the entry that may be left out.
        allow_shape: patterns of names that keep the module's own values where the entry has another shape.
        wrapped: what the entry's wrappers own, for the same wrappers of the module.
        cast: dtype that every real floating-point tensor of the module is to have.
        device: where the module goes; None leaves a built one on the CPU and the caller's where it is.
        check: raises if the bytes of the weights are not what they should be. It is called before the caller's
            module is touched, or before a built one is returned.

    Raises:
        FitError: the weights do not fit; its ``report`` says what was found.
    """
    module = target.module if isinstance(target, Built) else bare(target)
    found = target.found if isinstance(target, Built) and target.found else None
    if found is None:
        found = layout(target.module if isinstance(target, Built) else target)
    wanted = expect_of(module, found)
    content = Content(
        {name: spec_of(tensor) for name, tensor in weights.items()}, frozenset(values or ()), ties, metadata
    )
    allowed = Allowances(allow_missing, allow_unexpected, allow_shape, _cast_name(cast))
    try:
        plan = make_plan(type(module).__name__, wanted, content, allowed)
    except (MissingTensors, UnexpectedTensors, ShapeMismatch) as refusal:
        if not found.custom:
            raise
        if not isinstance(target, Built):
            check()
        floats = [name for name, spec in content.tensors.items() if is_real_float(spec.dtype)]
        weights = _cast(weights, floats, cast)
        plan = plan_by_class(module, found, wanted, content, weights, values or {}, cast, refusal)
    if no_values := on_meta(module, found):
        raise reported(MetaOutside(type(module).__name__, no_values), plan.report)
    try:
        check_lazy(found, content.tensors, type(module).__name__, allowed.cast)
        _check_ties(type(module).__name__, wanted.ties, weights, ties)
        weights = _cast(weights, [plan.sources[name] for name in plan.report.cast], cast)
        given = Given(weights, values or {}, metadata, wrapped or {}, cast)
        if isinstance(target, Built):
            plan = _completed(target, plan, allow_missing)
            wrappers = _fit_built(target, found, plan, given, allowed, device)
            module = target.module
        else:
            check()
            wrappers = plan_wrappers(found, given.wrapped, allowed)
            with undone_on_failure(None if _cannot_fail(found, plan, given, device) else target, found, thorough=False):
                _assign(module, found, plan, given, wrappers, is_callers=True, device=device)
    except FitError as error:
        error.report = plan.report
        raise
    report = replace(wrappers.told(plan.report), device=str(device) if device is not None else "")
    known = [*wanted.names, *weights, *(values or {}), *report.missing, *map(str, wrapped or {})]
    report = replace(report, notices=(*report.notices, *unmatched(allowed, known)))
    if isinstance(target, Built):
        check()
        report = replace(report, built="fast" if target.fast else "plain", reason=target.reason)
    return report


def _completed(built: Built, plan: Plan, allow_missing: Sequence[str]) -> Plan:
    """Return the plan with what is random in the module and in no entry, if all of that may be."""
    names = built.random_outside()
    if refused := [name for name in names if not any(fnmatchcase(name, pattern) for pattern in allow_missing)]:
        raise RandomOutside(type(built.module).__name__, refused)
    return replace(plan, report=replace(plan.report, missing=(*plan.report.missing, *names))) if names else plan


@dataclass(frozen=True)
class Given:
    """What an entry gives a module."""

    weights: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]
    metadata: Mapping[str, Mapping[str, Any]] | None
    wrapped: Mapping[Owner, Any]
    cast: torch.dtype | None


Device = torch.device | str | None


def _cannot_fail(found: Layout, plan: Plan, given: Given, device: Device) -> bool:
    """Whether nothing is left but copies, all checks being made, so that the old values need not be kept."""
    does_more = found.custom or given.cast is not None or device is not None or given.wrapped
    return not does_more and assignment.only_copies(found, plan, given.weights)


def _fit_built(
    built: Built, found: Layout, plan: Plan, given: Given, allowed: Allowances, device: Device
) -> WrapperPlan:
    wrappers = plan_wrappers(found, given.wrapped, allowed)
    if plan.keeps_initial_values or wrappers.lacks_values:
        built.keep_initial_values(_initial(plan))
        found = layout(built.module)
        wrappers = plan_wrappers(found, given.wrapped, allowed)
    _assign(built.module, found, plan, given, wrappers, is_callers=False, device=device, deferred=built.deferred)
    return wrappers


def _initial(plan: Plan) -> str:
    """Word what is not loaded, and so needs the value that the constructor gives it."""
    number = len(plan.report.missing) + len(plan.report.reshaped)
    return (
        f"{number} tensor{'s keep' if number > 1 else ' keeps'} what the class gave"
        if number
        else "a wrapper keeps its own"
    )


def _assign(
    module: nn.Module,
    found: Layout,
    plan: Plan,
    given: Given,
    wrappers: WrapperPlan,
    *,
    is_callers: bool,
    device: Device,
    deferred: frozenset[int] = frozenset(),
) -> None:
    weights, cast, landing = given.weights, given.cast, None
    runs_others_code = bool(plan.extra_states or wrappers.extra_states or device is not None)
    with torch.inference_mode(False), torch.no_grad():
        if cast is not None and (found.custom or not deferred):
            assignment.convert(module, cast)
        if found.custom:
            load_as_the_class_does(module, found, plan, weights, given.values, given.metadata)
            found = layout(module)  # the class may have replaced what it has
            landing = Landing(found, found.slots)
        else:
            check_places(found, plan, weights, type(module).__name__, is_callers=is_callers, deferred=deferred)
            if deferred:
                assignment.install(found, plan, weights, deferred)
            else:
                assignment.copy(found, plan, weights)
            landing = Landing(found, plan.sources) if runs_others_code else None
            assignment.set_extra_states(module, found, plan, weights, given.values)
            if cast is not None:
                assignment.convert(module, cast)
    give_back(wrappers, given.wrapped)
    if device is not None:
        move(module, device)
    if landing is not None:
        landing.confirm(module, torch.device(device) if device is not None else None)


def _cast_name(cast: torch.dtype | None) -> str | None:
    if cast is None:
        return None
    name = dtype_name(cast) if isinstance(cast, torch.dtype) else str(cast)
    if not isinstance(cast, torch.dtype) or not is_real_float(name):
        raise reported(CastNotFloating(name), LoadReport())
    return name


def _cast(
    weights: Mapping[str, torch.Tensor], names: Iterable[str], cast: torch.dtype | None
) -> Mapping[str, torch.Tensor]:
    """Return the weights, those of these names converted, and refuse what is finite only before."""
    if cast is None:
        return weights
    converted = {**weights, **{name: weights[name].to(cast) for name in names if weights[name].dtype != cast}}
    overflowing = [n for n, new in converted.items() if new is not weights[n] and _overflows(weights[n], new)]
    if overflowing:
        raise CastOverflows(overflowing, str(cast))
    return converted


def _overflows(before: torch.Tensor, after: torch.Tensor) -> bool:
    if torch.finfo(after.dtype).max >= torch.finfo(before.dtype).max:
        return False
    return bool((_is_finite(before) & ~_is_finite(after)).any())


def _is_finite(tensor: torch.Tensor) -> torch.Tensor:
    return torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float())  # fp8 has few operations


def _check_ties(
    model: str,
    wanted: Sequence[Sequence[str]],
    weights: Mapping[str, torch.Tensor],
    ties: Sequence[Sequence[str]],
) -> None:
    """Refuse names that the module holds as one tensor and that differ in the entry."""
    for tie in separate(wanted, ties):
        if pair := broken(tie, weights, lambda one, other: same_bits(weights[one], weights[other])):
            raise BrokenTie(model, pair)
