"""A push from beginning to end: by one process, by the ranks of a job together, or in the background."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from registry.blobs.store import BlobStore
from registry.catalog.catalog import Catalog
from registry.catalog.draft import Draft
from registry.catalog.entry import Entry
from registry.deposit import deposit
from registry.enclosure import Enclosure
from registry.intake import Inspection, Question, examine
from registry.pending import PendingEntry, copied, follow, settle_last

if TYPE_CHECKING:
    from torch import nn

    from registry.checkpoints.weights import Checkpoint
    from registry.resumption import Job


@dataclass(frozen=True)
class Submission:
    """What ``push`` was called with."""

    source: str | os.PathLike[str] | nn.Module | Mapping[str, Any]
    draft: Draft
    question: Question
    job: Job | None = None
    example: object = None
    force_new: bool = False
    progress: Callable[[int, int], None] | None = None
    timeout: timedelta = field(kw_only=True)
    """How long the ranks of a job wait for each other."""
    parent: Callable[[], str | None] = field(default=lambda: None)
    """Resolves the parent's reference, on the rank that writes."""


def submit(catalog: Callable[[], Catalog], store: BlobStore, submission: Submission) -> Entry:
    """Store a checkpoint. In a job, every rank calls it with its live model, one writes, and all get the entry.

    Raises:
        RegistryError: nothing was stored; what fails on one rank of a job raises on all.
    """
    settle_last()
    share, live, enclosed = _gathered(submission)

    def work() -> Entry:
        inspection, enclosures, draft = _prepared(submission, live, enclosed)
        return _deposited(catalog(), store, submission, inspection, enclosures, draft)

    return share(work)


def submit_later(catalog: Callable[[], Catalog], store: BlobStore, submission: Submission) -> PendingEntry:
    """Copy everything to host memory now, and store it in the background.

    Raises:
        RegistryError: it cannot be stored; said before anything runs in the background.
    """
    settle_last()
    share, live, enclosed = _gathered(submission)
    if not _writes_here(submission):
        return PendingEntry(submission.draft.name, _never, share)
    inspection, enclosures, draft = _prepared(submission, live, enclosed)
    frozen = replace(inspection, weights=replace(inspection.weights, tensors=copied(inspection.weights.tensors)))
    kept = {kind: Enclosure(copied(e.tensors), e.values) for kind, e in enclosures.items()}
    pending = PendingEntry(draft.name, lambda: _deposited(catalog(), store, submission, frozen, kept, draft), share)
    follow(pending)
    return pending


def _gathered(
    submission: Submission,
) -> tuple[Callable[[Callable[[], Entry]], Entry], Checkpoint | None, Enclosure | None]:
    """Return how the entry reaches every rank, and what all ranks had to gather together."""
    if isinstance(submission.source, (str, os.PathLike, Mapping)):
        return _alone, None, None
    from registry.checkpoints.live import is_sharded, open_live
    from registry.errors.models import RankUnreachable, first_line
    from registry.models import ranks
    from registry.resumption import enclose_job

    module, job = submission.source, submission.job
    if not ranks.in_job():
        return _alone, None, enclose_job(module, job) if job is not None else None
    seconds = submission.timeout.total_seconds()

    def share(work: Callable[[], Entry]) -> Entry:
        return ranks.from_rank_zero("pushing (every rank has to call registry.push)", work, seconds)

    def gather() -> tuple[Checkpoint, Enclosure | None]:
        try:
            return open_live(module), enclose_job(module, job) if job is not None else None
        except RuntimeError as error:  # torch's word for a rank that is gone
            raise RankUnreachable("gathering the shards", seconds, first_line(error)) from error

    if not is_sharded(module):
        # Nothing is spread over the ranks, so only the one that writes has to look at its model.
        return share, None, enclose_job(module, job) if job is not None else None
    return share, *ranks.together("gathering the shards", gather, seconds)


def _prepared(
    submission: Submission, live: Checkpoint | None, enclosed: Enclosure | None
) -> tuple[Inspection, dict[str, Enclosure], Draft]:
    inspection = examine(submission.source, submission.question, live)
    enclosures: dict[str, Enclosure] = {}
    if enclosed is not None:
        enclosures["training"] = enclosed
    elif inspection.checkpoint.training:
        from registry.resumption import enclose_file

        found, notes = enclose_file(inspection)
        inspection = replace(inspection, notes=(*inspection.notes, *notes))
        if found is not None:
            enclosures["training"] = found
    if submission.example is not None:
        from registry.replay import enclose_example

        enclosures["example"] = enclose_example(submission.source, inspection, submission.example)
    return inspection, enclosures, _drafted(submission)


def _drafted(submission: Submission) -> Draft:
    draft = replace(submission.draft, parent=submission.parent())
    if draft.world_size is None and not isinstance(submission.source, (str, os.PathLike, Mapping)):
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            draft = replace(draft, world_size=dist.get_world_size())
    return draft


def _deposited(
    catalog: Catalog,
    store: BlobStore,
    submission: Submission,
    inspection: Inspection,
    enclosures: Mapping[str, Enclosure],
    draft: Draft,
) -> Entry:
    return deposit(
        catalog,
        store,
        inspection,
        draft,
        enclosures=enclosures,
        force_new=submission.force_new,
        progress=submission.progress,
    )


def _writes_here(submission: Submission) -> bool:
    if isinstance(submission.source, (str, os.PathLike, Mapping)):
        return True
    from registry.models import ranks

    return not ranks.in_job() or ranks.current_rank() == 0


def _alone(work: Callable[[], Entry]) -> Entry:
    return work()


def _never() -> Entry:
    raise AssertionError("the other ranks get the entry from rank 0")
