"""A push from beginning to end: by one process, by the ranks of a job together, or in the background."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from registry.attachments.attachment import Enclosure
from registry.blobs.store import BlobStore
from registry.catalog.catalog import Catalog
from registry.catalog.draft import Draft
from registry.catalog.entry import Entry
from registry.inspection import Inspection, Question, examine
from registry.pushing.background import PendingEntry, copied, follow, settle_last
from registry.pushing.storing import deposit

if TYPE_CHECKING:
    from torch import nn

    from registry.attachments.training.job import Job
    from registry.checkpoints.weights import Checkpoint
    from registry.ranks.rendezvous import Meeting

TIMEOUT = timedelta(minutes=10)
"""How long the ranks of a job wait for each other."""


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
    timeout: timedelta = TIMEOUT
    parent: Callable[[], str | None] = field(default=lambda: None)
    """Resolves the parent's reference, on the rank that writes."""


@dataclass(frozen=True)
class Gathered:
    """What had to be taken from a live model with all ranks; the rest is taken by the one that writes."""

    checkpoint: Checkpoint | None = None
    enclosures: Mapping[str, Enclosure] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """Everything that is going to be stored."""

    inspection: Inspection
    enclosures: Mapping[str, Enclosure]
    draft: Draft

    def copied(self) -> Prepared:
        """Return the same in memory that the training does not write to."""
        weights = self.inspection.weights
        weights = replace(weights, tensors=copied(weights.tensors), values=copy.deepcopy(weights.values))
        enclosures = {
            kind: Enclosure(copied(e.tensors), copy.deepcopy(e.values)) for kind, e in self.enclosures.items()
        }
        return Prepared(replace(self.inspection, weights=weights), enclosures, self.draft)


def submit(catalog: Callable[[], Catalog], store: BlobStore, submission: Submission) -> Entry:
    """Store a checkpoint. In a job, every rank calls it with its live model, one writes, and all get the entry.

    Raises:
        RegistryError: nothing was stored; what fails on one rank of a job raises on all.
    """
    settle_last()

    def work(gathered: Gathered) -> Entry:
        return _deposited(catalog(), store, submission, _prepared(submission, gathered))

    meeting = _meeting(submission)
    if meeting is None:
        return work(Gathered())
    gathered = _gathered(submission, meeting)
    return meeting.share(lambda: work(gathered)) if meeting.writes_here else meeting.receive()


def submit_later(catalog: Callable[[], Catalog], store: BlobStore, submission: Submission) -> PendingEntry:
    """Copy everything to host memory now, and store it in the background.

    Raises:
        RegistryError: it cannot be stored; said before anything runs in the background.
    """
    settle_last()
    name, meeting = submission.draft.name, _meeting(submission)
    gathered = _gathered(submission, meeting) if meeting is not None else Gathered()
    if meeting is not None and not meeting.writes_here:
        return PendingEntry(name, meeting.receive)
    try:
        prepared = _prepared(submission, gathered).copied()
    except BaseException as error:
        if meeting is not None:
            meeting.give_up(error)
        raise

    def work() -> Entry:
        return _deposited(catalog(), store, submission, prepared)

    pending = PendingEntry(name, work if meeting is None else lambda: meeting.share(work))
    follow(pending)
    pending.start()
    return pending


def _meeting(submission: Submission) -> Meeting[Entry] | None:
    """Return what joins the ranks, if this is a live model in a job of several; anything else is pushed alone."""
    if isinstance(submission.source, (str, os.PathLike, Mapping)):
        return None
    from registry.ranks.collective import in_job
    from registry.ranks.rendezvous import Meeting

    if not in_job():
        return None
    job, draft = submission.job, submission.draft
    asked = (job and (job.step, job.epoch), tuple(draft.aliases), submission.force_new)
    return Meeting(draft.name, str(asked), submission.timeout.total_seconds())


def _gathered(submission: Submission, meeting: Meeting[Entry]) -> Gathered:
    """Take what is spread over the ranks, with all of them; of a model that each rank has whole, nothing."""
    from registry.errors.models import first_line
    from registry.modules.live import is_sharded, open_live

    module: Any = submission.source
    if not is_sharded(module):
        return Gathered()

    def gather() -> Gathered:
        checkpoint, enclosures = open_live(module), {}
        if submission.job is not None:
            from registry.attachments.training.job import enclose_job

            enclosures["training"] = enclose_job(module, submission.job, keep=meeting.writes_here)
        if submission.example is not None:
            from registry.attachments.examples.replay import enclose_example

            enclosures["example"] = enclose_example(module, None, submission.example)
        return Gathered(checkpoint, enclosures)

    try:
        return meeting.together(gather)
    except RuntimeError as error:  # torch's word for a rank that is gone
        raise meeting.unreachable(first_line(error)) from error


def inspect(
    source: str | os.PathLike[str] | nn.Module | Mapping[str, Any], question: Question, opened: Checkpoint | None = None
) -> tuple[Inspection, Enclosure | None]:
    """Return what a push would store of a checkpoint, with everything named that it would not, and the training state.

    Raises:
        RegistryError: as ``examine``.
    """
    inspection = examine(source, question, opened)
    if not inspection.checkpoint.training:
        return inspection.accounted(), None
    from registry.attachments.training.file import enclose_file

    kept = enclose_file(inspection)
    inspection = replace(inspection, notes=(*inspection.notes, *kept.notes))
    return inspection.accounted(kept.tensors), kept.enclosure


def _prepared(submission: Submission, gathered: Gathered) -> Prepared:
    source = submission.source
    submission.draft.check()  # here, where a failure reaches the other ranks: what is measured differs between them
    inspection, found = inspect(source, submission.question, gathered.checkpoint)
    enclosures = dict(gathered.enclosures)
    if submission.job is not None and "training" not in enclosures:
        from registry.attachments.training.job import enclose_job

        module: Any = source
        enclosures["training"] = enclose_job(module, submission.job)
    elif found is not None:
        enclosures["training"] = found
    if submission.example is not None and "example" not in enclosures:
        from registry.attachments.examples.replay import enclose_example

        enclosures["example"] = enclose_example(source, inspection, submission.example)
    if inspection.checkpoint.format == "live" and submission.question.model is not None:
        from registry.modules.building.target import resolve_target

        if not isinstance(resolve_target(submission.question.model), type):
            # A live model's own class is read off it; that this was named instead is what a load has to know.
            enclosures["factory"] = Enclosure(values={"target": submission.question.model})
    return Prepared(inspection, enclosures, _drafted(submission))


def _drafted(submission: Submission) -> Draft:
    draft = replace(submission.draft, parent=submission.parent())
    if draft.world_size is None and not isinstance(submission.source, (str, os.PathLike, Mapping)):
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            draft = replace(draft, world_size=dist.get_world_size())
    return draft


def _deposited(catalog: Catalog, store: BlobStore, submission: Submission, prepared: Prepared) -> Entry:
    return deposit(
        catalog,
        store,
        prepared.inspection,
        prepared.draft,
        enclosures=prepared.enclosures,
        force_new=submission.force_new,
        progress=submission.progress,
    )
