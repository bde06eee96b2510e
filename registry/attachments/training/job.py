"""From a running job to its training state."""

from __future__ import annotations

from operator import index
from typing import Any

import torch
from torch import nn

from registry.attachments.attachment import Attachment, Job
from registry.attachments.stateful import Stateful
from registry.attachments.training.nesting import flatten, replaced
from registry.attachments.training.optimizer import by_name
from registry.errors.training import ForeignParameters
from registry.modules.building import process_state as generators
from registry.modules.layout import bare, is_fsdp1, layout
from registry.modules.live import LiveTensor
from registry.ranks import collective as ranks
from registry.ranks.shards import is_shard


def attach_job(model: nn.Module, job: Job, *, keep: bool = True) -> Attachment:
    """Return a job's training state, its optimizer state keyed by canonical parameter name.

    Under FSDP the states are gathered, which every rank has to take part in. Random generators are those of one
    process: of a job's many processes none are kept, and neither are they without an optimizer, since they would make
    a version of the same weights and counters another one.

    Args:
        keep: whether this rank writes; the others hold nothing of what they gather.

    Raises:
        ForeignParameters: the optimizer holds parameters that are not the model's.
        UnstorableTensor, UnencodableValue: a state is no plain data.
    """
    counters = {"step": job.step, "epoch": job.epoch}
    state: dict[str, Any] = {name: index(count) for name, count in counters.items() if count is not None}
    state["kinds"] = {part: kind_of(owner) for part, owner in job.parts.items()}
    for part, owner in job.parts.items():
        if part == "optimizer" and job.optimizer is not None and is_fsdp1(model):
            state[part] = _unflattened(model, job.optimizer)
        else:
            state[part] = _whole(owner.state_dict(), keep)
    if not keep:
        return Attachment()
    if job.optimizer is not None:
        if not is_fsdp1(model):
            names = [name for group in parameter_names(model, job.optimizer) for name in group]
            shapes = {name: tuple(slot.tensor.shape) for name, slot in layout(bare(model)).slots.items()}
            state["optimizer"] = by_name(state["optimizer"], names, shapes)
        if not ranks.in_job():
            state["rng"] = generators.state()
    return flatten(state, _source)


def attachable(name: str, state: Any) -> None:
    """Refuse a state that could not be stored.

    Raises:
        UnstorableTensor, UnencodableValue: it is no plain data.
    """
    flatten({name: state}, _source)


def parameter_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[list[str]]:
    """Return the canonical names of an optimizer's parameters, by group; of a tied one the first.

    Raises:
        ForeignParameters: some are not the model's.
    """
    names: dict[int, str] = {}
    for name, slot in layout(bare(model)).slots.items():
        names.setdefault(id(slot.tensor), name)
    groups = [[names.get(id(parameter)) for parameter in group["params"]] for group in optimizer.param_groups]
    foreign = sum(name is None for group in groups for name in group)
    if foreign:
        raise ForeignParameters(type(bare(model)).__name__, foreign)
    return [[name for name in group if name is not None] for group in groups]


def kind_of(owner: Stateful) -> str:
    """Return the class of an optimizer, scheduler or scaler; if it only wraps another, as Accelerate's do, of that."""
    inner = getattr(owner, "optimizer", None) if isinstance(owner, torch.optim.Optimizer) else None
    inner = getattr(owner, "scheduler", None) if inner is None else inner
    cls = type(inner if inner is not None else owner)
    return f"{cls.__module__}.{cls.__qualname__}"


def _unflattened(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state of an FSDP1 job's optimizer by name, on rank 0; only torch knows what it has flattened how."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    is_fresh = not optimizer.state
    try:
        named = get_optimizer_state_dict(
            model, optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
        )
    except KeyError as error:  # torch's word for a parameter that it does not find
        raise ForeignParameters(type(bare(model)).__name__, 1) from error
    if is_fresh:  # torch has made a step with it, so as to have a state
        optimizer.state.clear()
        named["state"] = {}
    return {"state": named.get("state", {}), "param_groups": named.get("param_groups", []), "ordered": False}


def _whole(state: Any, keep: bool) -> Any:
    """Return a state with whole tensors in host memory instead of shards; every rank has to call it."""

    def whole(part: Any) -> Any:
        if not isinstance(part, torch.Tensor) or not is_shard(part):
            return part
        gathered = part.full_tensor()  # type: ignore[attr-defined]
        return gathered.cpu() if keep else None

    return replaced(state, whole)


def _source(value: Any, path: str) -> LiveTensor | None:
    return LiveTensor("the training state", path, value) if isinstance(value, torch.Tensor) else None
