"""From a stored training state back into a job, on however many ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from registry.attachments.attachment import OWN, STATEFUL, Job, StoredAttachment
from registry.attachments.training.job import kind_of, parameter_names
from registry.attachments.training.memory import Memory
from registry.attachments.training.nesting import as_in, unflatten
from registry.attachments.training.optimizer import by_position, of_part
from registry.catalog.entry import Entry
from registry.catalog.part import PartEntry
from registry.errors.models import first_line
from registry.errors.root import few
from registry.errors.training import NoTrainingState, StateRefused, UnknownState
from registry.errors.warned import warn
from registry.home.home import Home
from registry.loading.load import LoadRequest, load_here, opened, require_unflattened
from registry.loading.parts import require_all
from registry.modules.building import process_state as generators
from registry.modules.fitting.report import LoadReport
from registry.modules.fitting.rollback import undone_on_failure
from registry.modules.layout import bare, layout
from registry.modules.origin import set_origin
from registry.modules.parts import parts_of
from registry.ranks import collective as ranks
from registry.ranks.shards import is_shard, materialized
from registry.tensors.inlined import as_written

if TYPE_CHECKING:
    from registry.blobs.store import Verify


@dataclass(frozen=True)
class Resumed:
    """Where a job goes on."""

    entry: Entry
    step: int | None
    epoch: int | None
    report: LoadReport
    """What went into the model."""
    restored: tuple[str, ...] = field(default=())
    """What else was put back: ``"optimizer"``, ``"scheduler"``, ``"scaler"``, ``"rng"``, and the names of ``state``."""
    left: tuple[str, ...] = field(default=())
    """What the version keeps besides, and was not given: ``"optimizer"``, ... A warning says so."""


def resume(
    home: Home, ref: str, model: nn.Module, job: Job, verify: Verify = "always", part: str | None = None
) -> Resumed:
    """Put a version's weights and training state into a job; in one of several ranks, into all or none.

    Raises:
        NoTrainingState: the version has none, or not the part that is to be restored.
        OptimizerMismatch, ForeignParameters, StateRefused: it is the state of something else.
        RegistryError: as ``load`` does. Nothing stays changed, on any rank.
    """

    def here(entry: Entry) -> Resumed:
        require_unflattened(model)
        if entry.parts and (given := parts_of(model)):
            require_all("the model", entry, given)
        state = _stored(job, home.attachment(entry, "training", verify), entry.ref)
        if isinstance(entry, PartEntry) and job.optimizer is not None:
            state["optimizer"] = of_part(state["optimizer"], entry.part, home.manifest(entry.whole).ties)
        positional = _positional(model, job.optimizer, state["optimizer"]) if job.optimizer is not None else {}
        restored = _put_back(job, state, positional, entry.ref)
        request = LoadRequest(model=model, verify=verify)
        _, report = load_here(opened(home, entry, request), request)
        # The generators of one process: ranks that all went on with them would draw the same numbers.
        if "rng" in state and not ranks.in_job():
            generators.restore(state["rng"])
            restored = (*restored, "rng")
        kept = [key for key in state if key in STATEFUL or key.startswith(OWN)]
        left = tuple(key.removeprefix(OWN) for key in kept if key not in job.parts)
        return Resumed(entry, state.get("step"), state.get("epoch"), report, restored, left)

    if ranks.in_job():
        entry = ranks.from_rank_zero("resolving the reference", lambda: home.part(home.resolve(ref), part))
    else:
        entry = home.part(home.resolve(ref), part)
    with undone_on_failure(model), _undone_on_failure(job):  # around the ranks: another's failure undoes this one
        resumed = ranks.together(f"resuming {entry.ref}", lambda: here(entry)) if ranks.in_job() else here(entry)
    _note_origin(model, entry)
    if resumed.left:
        kept = f"{entry.ref} keeps the state of {few(resumed.left)}, which stays behind"
        warn(f"{kept}: resume was not given what it belongs to")
    return resumed


def _note_origin(model: nn.Module, entry: Entry) -> None:
    if isinstance(entry, PartEntry):
        set_origin(model, entry.ref, entry.whole.digest, part=entry.part, resumed=True)
        return
    for part, each in parts_of(model).items() if entry.parts else ():
        set_origin(each, entry.ref, entry.digest, part=part, resumed=True)
    set_origin(model, entry.ref, entry.digest, resumed=True)


def _stored(job: Job, attached: StoredAttachment | None, ref: str) -> dict[str, Any]:
    """Return the stored state, after comparing what it is of with what is at hand."""
    state: dict[str, Any] = (
        {key: unflatten(value, attached.tensors) for key, value in attached.values.items()} if attached else {}
    )
    for part, owner in job.parts.items():
        name = part.removeprefix(OWN)
        if part not in state and name != part:
            raise UnknownState(ref, name, sorted(key.removeprefix(OWN) for key in state if key.startswith(OWN)))
        if part not in state:
            raise NoTrainingState(ref, part)
        kind = state["kinds"].get(part)  # of a file it is not known
        if kind is not None and kind != kind_of(owner):
            raise StateRefused(ref, f"it holds the state of a {kind}, and the {name} at hand is a {kind_of(owner)}")
    return state


def _positional(model: nn.Module, optimizer: torch.optim.Optimizer, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optimizer's state as its own ``load_state_dict`` takes it, spread as its parameters are."""
    groups = parameter_names(model, optimizer)
    first = {id(slot.tensor): name for name, slot in reversed(layout(bare(model)).slots.items())}
    called = {name: first[id(slot.tensor)] for name, slot in layout(bare(model)).slots.items()}
    positional = by_position(_renamed(named, called), groups, optimizer.param_groups)
    for parameter, entry in zip(_parameters(optimizer), _entries(positional), strict=True):
        entry.update({key: _spread(value, parameter) for key, value in entry.items()})
    return positional


def _renamed(named: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    """Return the state under the names that tied parameters go by in the model at hand."""
    return {
        **named,
        "state": {called.get(name, name): entry for name, entry in named["state"].items()},
        "param_groups": [
            {**group, "params": [called.get(name, name) for name in group["params"]]} for group in named["param_groups"]
        ],
    }


def _put_back(job: Job, state: Mapping[str, Any], positional: dict[str, Any], ref: str) -> tuple[str, ...]:
    for part, owner in job.parts.items():
        try:
            owner.load_state_dict(positional if part == "optimizer" else as_in(owner.state_dict(), state[part]))
        except Exception as error:
            raised = f"raised {type(error).__name__} ({first_line(error)})"
            raise StateRefused(ref, f"the {part.removeprefix(OWN)} at hand ({kind_of(owner)}) {raised}") from error
    if job.optimizer is not None:
        _keep_dtypes(job.optimizer, positional)
    return tuple(part.removeprefix(OWN) for part in job.parts)


def _keep_dtypes(optimizer: torch.optim.Optimizer, positional: Mapping[str, Any]) -> None:
    """Undo that ``Optimizer.load_state_dict`` casts every state to the dtype of its parameter, silently."""
    for parameter, entry in zip(_parameters(optimizer), _entries(positional), strict=True):
        for key, value in entry.items():
            loaded = optimizer.state[parameter].get(key)
            if isinstance(loaded, torch.Tensor) and loaded.dtype != value.dtype:
                optimizer.state[parameter][key] = value.to(loaded.device)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _entries(positional: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the state of every parameter in their order; an empty one for those that have none."""
    positions = [position for group in positional["param_groups"] for position in group["params"]]
    return [positional["state"].get(position, {}) for position in positions]


def _spread(value: Any, parameter: torch.Tensor) -> Any:
    """Return a state tensor as the parameter is spread: whole, or this rank's part of it; never the stored memory."""
    if not isinstance(value, torch.Tensor):
        return value
    if is_shard(parameter) and value.shape == parameter.shape:
        return materialized(parameter.detach(), value).detach()
    return as_written(value.detach().clone(), isinstance(value, nn.Parameter), value.requires_grad)


@contextmanager
def _undone_on_failure(job: Job) -> Iterator[None]:
    """Make optimizer, scheduler, scaler and random generators what they were if what is done inside raises.

    Their own ``load_state_dict`` may be what raised, so it is not asked to take the old state back.
    """
    before, generated = Memory(job.parts.values()), generators.state()
    try:
        yield
    except BaseException:
        before.restore()
        if not generators.stand_at(generated):
            generators.restore(generated)
        raise
