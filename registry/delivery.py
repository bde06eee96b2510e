"""From an entry to a ready module on this process's device; the checks are made before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from registry.blobs.manifest import Manifest
from registry.canonical.form import EXTRA_STATE, reconcile
from registry.canonical.values import decode, decode_metadata
from registry.catalog.entry import Entry
from registry.checkpoints.live import is_fsdp1, model_class
from registry.errors.intake import ModelNeeded
from registry.errors.models import FlattenedParameters
from registry.models import parallel, ranks
from registry.models.build import Built
from registry.models.expectation import expect
from registry.models.fit import fit
from registry.models.proof import Proof, build_by
from registry.models.report import LoadReport
from registry.models.specification import ModelSpec


@dataclass(frozen=True)
class Order:
    """What the user asked of a load."""

    model: nn.Module | None = None
    init: Mapping[str, Any] | None = None
    device: str | torch.device | None = None
    allow_missing: Sequence[str] = ()
    allow_unexpected: Sequence[str] = ()
    cast: torch.dtype | None = None


@dataclass(frozen=True)
class Parcel:
    """An entry with its weights, mapped and being checked."""

    entry: Entry
    manifest: Manifest
    tensors: Mapping[str, torch.Tensor]
    check: Callable[[], None]
    """Waits until every byte is checked, and raises if one is not as it was stored."""
    proof: Proof | None
    """What the push found out about building the class fast."""
    verified: bool
    """Whether ``check`` checks anything."""


def specification(entry: Entry, order: Order) -> ModelSpec:
    """Return what to build for an entry.

    Raises:
        ModelNeeded: the entry names no class.
    """
    if entry.model_class is None:
        raise ModelNeeded(entry.ref)
    return ModelSpec(entry.model_class, dict(order.init if order.init is not None else entry.init), entry.init_as)


def deliver_to_ranks(
    resolve: Callable[[], Entry],
    open_parcel: Callable[[Entry], Parcel],
    order: Order,
    *,
    fsdp: bool,
    rank: int | None,
) -> tuple[nn.Module, LoadReport]:
    """Do the same on every rank of the process group, with one version, and wrap it: DDP, or FSDP2.

    Rank 0 resolves the reference, so an alias that moves meanwhile divides nobody; each rank opens that version for
    itself and refuses another digest. What fails on one rank raises on all.

    Raises:
        NoProcessGroup, WrongRank: it is called outside of a job, or for another rank.
        OtherRankFailed, RankUnreachable: another rank failed, or is gone.
        RegistryError: as ``deliver`` does.
    """
    ranks.require_process_group(f"registry.load(..., {'fsdp' if fsdp else 'ddp'}=True)")
    own = ranks.current_rank(rank)
    entry = ranks.from_rank_zero("resolving the reference", resolve)

    def here() -> tuple[torch.device, nn.Module, LoadReport]:
        device = ranks.usable_device(order.device) if order.device is not None else ranks.rank_device(own)
        return device, *deliver(open_parcel(entry), replace(order, device=None), device if fsdp else None)

    device, module, report = ranks.together(f"loading {entry.ref}", here)
    if fsdp:
        return module.train(), report
    if not isinstance(module, nn.parallel.DistributedDataParallel):
        module = parallel.wrap_ddp(module, device, synchronise=bool(order.allow_missing))
    return module, report


def require_unflattened(model: nn.Module) -> None:
    """Raise if weights cannot go into a live module.

    Raises:
        FlattenedParameters: it is under FSDP1.
    """
    if is_fsdp1(model):
        raise FlattenedParameters(model_class(model).__name__)


def deliver(parcel: Parcel, order: Order, shard_on: torch.device | None = None) -> tuple[nn.Module, LoadReport]:
    """Put the weights into the caller's module, or into one built from the entry's class.

    Args:
        shard_on: this rank's device, to give the parameters of a built module out over all ranks.

    Raises:
        RegistryError: of ``models`` (the class, the fit) and ``blobs`` (the bytes); a caller's module is unchanged.
    """
    entry = parcel.entry
    device = ranks.usable_device(order.device) if order.device is not None else None
    built: Built | None = None
    is_judge = False
    if order.model is None:
        spec = specification(entry, order)
        same = order.init is None or dict(order.init) == dict(entry.init)
        # A class with a proof was the judge of the names when they were stored.
        is_judge = same and parcel.proof is not None
        built = build_by(spec, parcel.proof if same else None)
        if shard_on is not None:
            parallel.shard(built, shard_on, cast=order.cast)
    else:
        require_unflattened(order.model)
    target = built if built is not None else order.model
    assert target is not None
    renamed, notices = ({}, ()) if is_judge else _corrected(parcel, built.module if built is not None else order.model)
    report = fit(
        target,
        {renamed.get(name, name): tensor for name, tensor in parcel.tensors.items()},
        ties=[[renamed.get(name, name) for name in tie] for tie in parcel.manifest.ties],
        values={
            renamed.get(name, name): decode(value)
            for name, value in parcel.manifest.values.items()
            if name.rpartition(".")[2] == EXTRA_STATE
        },
        metadata=decode_metadata(parcel.manifest.metadata),
        allow_missing=order.allow_missing,
        allow_unexpected=order.allow_unexpected,
        cast=order.cast,
        device=device,
        check=parcel.check,
    )
    module = built.module if built is not None else order.model
    assert module is not None
    return module, replace(
        report, ref=entry.ref, digest=entry.digest, notices=(*notices, *report.notices), verified=parcel.verified
    )


def _corrected(parcel: Parcel, module: nn.Module | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the names that this class puts right, and what to say of it."""
    assert module is not None
    names = [*parcel.tensors, *(n for n in parcel.manifest.values if n.rpartition(".")[2] == EXTRA_STATE)]
    renamed = reconcile(names, parcel.entry.unwrapping, expect(module))
    if not renamed:
        return {}, ()
    changed = {name: new for name, new in renamed.items() if name != new}
    first, new = next(iter(changed.items()))
    notice = f"{len(changed)} names put right by the class, which contradicts the stored reading: {first} is {new}"
    return renamed, (notice,)
