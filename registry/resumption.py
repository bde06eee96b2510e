"""From a running job to its training state, and from the state back into a job."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from registry.canonical.values import encode
from registry.catalog.entry import Entry
from registry.checkpoints.live import LiveTensor
from registry.delivery import Order, Parcel, deliver
from registry.enclosure import Enclosed, Enclosure
from registry.errors.root import RegistryError
from registry.errors.training import ForeignParameters, NoTrainingState, StateRefused, UnprovedOrder
from registry.intake import Inspection
from registry.models import ranks
from registry.models.report import LoadReport
from registry.models.shards import is_shard, part_of
from registry.models.slots import bare, layout
from registry.replay import undone_on_failure
from registry.training import flatten, optimizer_by_name, optimizer_by_position, unflatten


@dataclass(frozen=True)
class Job:
    """What surrounds the model in a training loop, as ``push`` and ``resume`` take it."""

    optimizer: torch.optim.Optimizer | None = None
    scheduler: Any = None
    scaler: Any = None
    step: int | None = None
    epoch: int | None = None

    @property
    def is_empty(self) -> bool:
        return all(part is None for part in (self.optimizer, self.scheduler, self.scaler, self.step, self.epoch))


@dataclass(frozen=True)
class Resumed:
    """Where a job goes on."""

    entry: Entry
    step: int | None
    epoch: int | None
    report: LoadReport
    """What went into the model."""
    restored: tuple[str, ...] = field(default=())
    """What else was put back: ``"optimizer"``, ``"scheduler"``, ``"scaler"``, ``"rng"``."""


def enclose_job(model: nn.Module, job: Job) -> Enclosure:
    """Return a job's training state, its optimizer state keyed by canonical parameter name.

    Under FSDP2 the states are gathered, which every rank has to take part in.

    Raises:
        ForeignParameters: the optimizer holds parameters that are not the model's.
        UnstorableTensor, UnencodableValue: a state is no plain data.
    """
    state: dict[str, Any] = {"step": job.step, "epoch": job.epoch, "rng": _rng_state()}
    if job.optimizer is not None:
        names = [name for group in _groups(model, job.optimizer) for name in group]
        shapes = {name: tuple(slot.tensor.shape) for name, slot in layout(bare(model)).slots.items()}
        state["optimizer"] = optimizer_by_name(_sources(job.optimizer.state_dict(), "optimizer"), names, shapes)
    for part in ("scheduler", "scaler"):
        if getattr(job, part) is not None:
            state[part] = _sources(getattr(job, part).state_dict(), part)
    return flatten({key: value for key, value in state.items() if value is not None})


def enclose_file(inspection: Inspection) -> tuple[Enclosure | None, tuple[str, ...]]:
    """Return the training state that a file holds beside its weights, and what has to be said of it.

    The optimizer state in a file goes by position. The class, where it is given, has the parameters in the order in
    which ``model.parameters()`` gave them to the optimizer; their number and shapes have to agree.
    """
    training = dict(inspection.checkpoint.training)
    states = training.get("optimizer_states")
    if isinstance(states, list) and len(states) == 1:
        training["optimizer"] = states[0]
        del training["optimizer_states"]
    found = [key for key, value in training.items() if _is_optimizer(value)]
    if not found:
        return None, ()
    kept: dict[str, Any] = {}
    notes = []
    for key, value in training.items():
        try:
            kept[key] = _named(inspection, value) if key in found else value
            encode(flatten({key: kept[key]}).values, key)
        except RegistryError as error:
            kept.pop(key, None)
            notes.append(f"'{key}' of the file's training state is not kept: {error}")
    return (flatten(kept) if kept else None), tuple(notes)


def prepare(model: nn.Module, job: Job, enclosed: Enclosed | None, ref: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the stored training state, and the optimizer's as its own ``load_state_dict`` takes it.

    Nothing is changed, so that what does not fit is refused before anything is touched.

    Raises:
        NoTrainingState: the version has none, or not the part that is to be restored.
        OptimizerMismatch, ForeignParameters: the optimizer holds other parameters.
    """
    state: dict[str, Any] = unflatten(enclosed.values, enclosed.tensors) if enclosed is not None else {}
    for part in ("optimizer", "scheduler", "scaler"):
        if getattr(job, part) is not None and part not in state:
            raise NoTrainingState(ref, part)
    if job.optimizer is None:
        return state, {}
    groups = _groups(model, job.optimizer)
    positional = optimizer_by_position(state["optimizer"], groups)
    parameters = [parameter for group in job.optimizer.param_groups for parameter in group["params"]]
    for position, entry in positional["state"].items():
        positional["state"][position] = {key: _local(value, parameters[position]) for key, value in entry.items()}
    return state, positional


def put_back(job: Job, state: Mapping[str, Any], positional: Mapping[str, Any], ref: str) -> tuple[str, ...]:
    """Put a prepared training state into a job, and return what was restored; on failure nothing stays changed.

    The state of random generators is one process's, so it is only put back where there is one.

    Raises:
        StateRefused: an object does not take its state.
    """
    before = [(part, part.state_dict()) for part in (job.optimizer, job.scheduler, job.scaler) if part is not None]
    restored = []
    try:
        if job.optimizer is not None:
            job.optimizer.load_state_dict(dict(positional))
            restored.append("optimizer")
        for part in ("scheduler", "scaler"):
            if getattr(job, part) is not None:
                getattr(job, part).load_state_dict(state[part])
                restored.append(part)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        for owner, was in before:
            owner.load_state_dict(was)
        raise StateRefused(ref, str(error).splitlines()[0]) from error
    if "rng" in state and not ranks.in_job():
        _restore_rng(state["rng"])
        restored.append("rng")
    return tuple(restored)


def _groups(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[list[str]]:
    """Return the canonical names of an optimizer's parameters, by group."""
    names: dict[int, str] = {}
    for name, slot in layout(bare(model)).slots.items():
        names.setdefault(id(slot.tensor), name)
    groups = [[names.get(id(parameter)) for parameter in group["params"]] for group in optimizer.param_groups]
    foreign = sum(name is None for group in groups for name in group)
    if foreign:
        raise ForeignParameters(type(bare(model)).__name__, foreign)
    return [[name for name in group if name is not None] for group in groups]


def _sources(value: Any, where: str) -> Any:
    """Return a state with every tensor as a source to store it."""
    if isinstance(value, torch.Tensor):
        whole = value.full_tensor() if is_shard(value) else value  # type: ignore[attr-defined]
        return LiveTensor("the training state", where, whole)
    if isinstance(value, Mapping):
        return {key: _sources(item, f"{where}/{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sources(item, f"{where}/{i}") for i, item in enumerate(value)]
    return value


def _local(value: Any, parameter: torch.Tensor) -> Any:
    """Return a state tensor as the parameter is spread: whole, or this rank's part of it; never the stored memory."""
    if not isinstance(value, torch.Tensor):
        return value
    if not is_shard(parameter) or value.shape != parameter.shape:
        return value.clone()
    part = part_of(value, parameter).clone().to(parameter.device)
    return type(parameter.data).from_local(  # type: ignore[attr-defined]
        part,
        parameter.device_mesh,  # type: ignore[attr-defined]
        parameter.placements,  # type: ignore[attr-defined]
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, Mapping) and "param_groups" in value and isinstance(value.get("state"), Mapping)


def _named(inspection: Inspection, state: Mapping[str, Any]) -> dict[str, Any]:
    if inspection.probe is None:
        raise UnprovedOrder("the class that has the parameters in order is not given (--model)")
    parameters = dict(inspection.probe.module.named_parameters())
    return optimizer_by_name(state, list(parameters), {name: tuple(p.shape) for name, p in parameters.items()})


def _rng_state() -> dict[str, Any] | None:
    """Return the state of the process's random generators; of a job's many processes none is kept."""
    if ranks.in_job():
        return None
    version, words, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "torch": LiveTensor("the training state", "rng/torch", torch.get_rng_state()),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        devices = torch.cuda.get_rng_state_all()
        state["cuda"] = [LiveTensor("the training state", f"rng/cuda/{i}", s) for i, s in enumerate(devices)]
    if numpy := sys.modules.get("numpy"):
        kind, keys, *rest = numpy.random.get_state()
        state["numpy"] = [kind, [int(key) for key in keys], *rest]
    return state


def _restore_rng(state: Mapping[str, Any]) -> None:
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    torch.set_rng_state(state["torch"].clone())
    if "cuda" in state and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.clone() for s in state["cuda"]])
    if "numpy" in state and (numpy := sys.modules.get("numpy")):
        kind, keys, *rest = state["numpy"]
        numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), *rest))


def resume(
    model: nn.Module,
    job: Job,
    resolve: Callable[[], Entry],
    open_parcel: Callable[[Entry], Parcel],
    open_training: Callable[[Entry], Enclosed | None],
) -> Resumed:
    """Put a version's weights and training state into a job; in one of several ranks, into all or none."""
    if not ranks.in_job():
        return _resume_here(model, job, resolve(), open_parcel, open_training)
    entry = ranks.from_rank_zero("resolving the reference", resolve)
    return ranks.together(f"resuming {entry.ref}", lambda: _resume_here(model, job, entry, open_parcel, open_training))


def _resume_here(
    model: nn.Module,
    job: Job,
    entry: Entry,
    open_parcel: Callable[[Entry], Parcel],
    open_training: Callable[[Entry], Enclosed | None],
) -> Resumed:
    state, positional = prepare(model, job, open_training(entry), entry.ref)
    with undone_on_failure(model):
        _, report = deliver(open_parcel(entry), Order(model=model))
        restored = put_back(job, state, positional, entry.ref)
    return Resumed(entry, state.get("step"), state.get("epoch"), report, restored)
