"""A push from beginning to end: by one process, by the ranks of a job together, or in the background."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from registry.attachments.attachment import Attachment
from registry.attachments.files import attach_files
from registry.catalog.entry import Entry
from registry.errors.parts import ExampleOfParts
from registry.home.home import Home
from registry.inspection import Inspection, Question, examine, open_source
from registry.pushing.adapters import base_of
from registry.pushing.background import PendingEntry, follow, settle_last
from registry.pushing.provenance import SourceDigest, source_files
from registry.pushing.request import Prepared, PushRequest, name_of
from registry.pushing.storing import store

if TYPE_CHECKING:
    from torch import nn

    from registry.checkpoints.weights import Checkpoint
    from registry.ranks.rendezvous import Rendezvous


@dataclass(frozen=True)
class Gathered:
    """What had to be taken from a live model with all ranks; the rest is taken by the one that writes."""

    checkpoint: Checkpoint | None = None
    attachments: Mapping[str, Attachment] = field(default_factory=dict)


def push(home: Home, request: PushRequest) -> Entry:
    """Store a checkpoint. In a job, every rank calls it with its live model, one writes, and all get the entry.

    Raises:
        RegistryError: nothing was stored; what fails on one rank of a job raises on all.
    """
    settle_last()

    name = name_of(home, request.source, request.name)

    def work(gathered: Gathered) -> Entry:
        return store(home, request, _prepared(home, name, request, gathered))

    rendezvous = _rendezvous(name, request)
    if rendezvous is None:
        return work(Gathered())
    gathered = _gathered(request, rendezvous)
    return rendezvous.share(lambda: work(gathered)) if rendezvous.writes_here else rendezvous.receive()


def push_later(home: Home, request: PushRequest) -> PendingEntry:
    """Copy everything to host memory now, and store it in the background.

    Raises:
        RegistryError: it cannot be stored; said before anything runs in the background.
    """
    settle_last()
    name = name_of(home, request.source, request.name)
    rendezvous = _rendezvous(name, request)
    gathered = _gathered(request, rendezvous) if rendezvous is not None else Gathered()
    if rendezvous is not None and not rendezvous.writes_here:
        return PendingEntry(name, rendezvous.receive)
    try:
        prepared = _prepared(home, name, request, gathered).copied()
    except BaseException as error:
        if rendezvous is not None:
            rendezvous.give_up(error)
        raise

    def work() -> Entry:
        return store(home, request, prepared)

    pending = PendingEntry(name, work if rendezvous is None else lambda: rendezvous.share(work))
    pending.start()
    follow(pending)
    return pending


def _rendezvous(name: str, request: PushRequest) -> Rendezvous[Entry] | None:
    """Return what joins the ranks, if this is a live model in a job of several; anything else is pushed alone."""
    if not request.is_live:
        return None
    from registry.ranks.collective import in_job
    from registry.ranks.rendezvous import Rendezvous

    if not in_job():
        return None
    job = request.job()
    asked = (job and (job.step, job.epoch), request.aliases, request.force_new)
    return Rendezvous(name, str(asked), request.timeout.total_seconds())


def _gathered(request: PushRequest, rendezvous: Rendezvous[Entry]) -> Gathered:
    """Take what is spread over the ranks, with all of them; of a model that each rank has whole, nothing."""
    from registry.errors.models import first_line
    from registry.modules.layout import is_sharded
    from registry.modules.live import open_live

    module: Any = request.source
    if not is_sharded(module):
        return Gathered()

    def gather() -> Gathered:
        return Gathered(open_live(module), _attached(request, None, keep=rendezvous.writes_here))

    try:
        return rendezvous.with_all(gather)
    except RuntimeError as error:  # torch's word for a rank that is gone
        raise rendezvous.unreachable(first_line(error)) from error


def _attached(request: PushRequest, inspection: Inspection | None, *, keep: bool = True) -> dict[str, Attachment]:
    """Return what was asked to be kept beside the weights: the state of a job, which every rank gathers, an example."""
    attachments = {}
    if (job := request.job()) is not None:
        from registry.attachments.training.job import attach_job

        module: Any = request.source
        attachments["training"] = attach_job(module, job, keep=keep)
    if request.example is not None:
        from registry.attachments.examples.replay import attach_example

        if inspection is not None and inspection.recipe.by_part:
            raise ExampleOfParts(request.name, [part.part for part in inspection.recipe.parts])

        attachments["example"] = attach_example(request.source, inspection, request.example)
    return attachments


def inspect(
    source: str | os.PathLike[str] | nn.Module | Mapping[str, Any], question: Question, opened: Checkpoint | None = None
) -> tuple[Inspection, Attachment | None]:
    """Return what a push would store of a checkpoint, with everything named that it would not, and the training state.

    Raises:
        RegistryError: as ``examine``.
    """
    inspection = examine(source, question, opened)
    if not inspection.checkpoint.training:
        return inspection.accounted(), None
    from registry.attachments.training.file import attach_file

    kept = attach_file(inspection)
    inspection = replace(inspection, notes=(*inspection.notes, *kept.notes))
    return inspection.accounted(kept.tensors), kept.attachment


def _prepared(home: Home, name: str, request: PushRequest, gathered: Gathered) -> Prepared:
    request.check()  # here, where a failure reaches the other ranks: what is measured differs between them
    checkpoint = gathered.checkpoint if gathered.checkpoint is not None else open_source(request.source)
    source = SourceDigest(source_files(checkpoint))
    was_asked = source.is_of_files and home.is_made
    is_known = was_asked and home.catalog.knows(name, to_add=True)
    if request.force_new or not is_known:  # a version is certain; else it begins once there is something to write
        source.start()
    try:
        prepared = _examined(home, name, request, gathered, checkpoint)
    except BaseException:
        source.stop()
        raise
    return replace(prepared, source=source, was_asked=was_asked)


def _examined(home: Home, name: str, request: PushRequest, gathered: Gathered, checkpoint: Checkpoint) -> Prepared:
    inspection, found = inspect(request.source, request.question, checkpoint)
    attachments = {"training": found} if found is not None else {}
    attachments |= gathered.attachments if gathered.checkpoint is not None else _attached(request, inspection)
    attachments |= attach_files(inspection.documents)
    base, notes = base_of(home, request, inspection, name)
    inspection = replace(inspection, notes=(*inspection.notes, *notes))
    if inspection.checkpoint.format == "live" and isinstance(request.question.model, str):
        from registry.modules.building.target import resolve_target

        if not isinstance(resolve_target(request.question.model), type):
            # A live model's own class is read off it; that this was named instead is what a load has to know.
            attachments["factory"] = Attachment(values={"target": request.question.model})
    parent = home.resolve(request.parent) if request.parent is not None else None
    return Prepared(name, inspection, attachments, parent, _world_size(request, inspection), base)


def _world_size(request: PushRequest, inspection: Inspection) -> int | None:
    """Return how many processes trained the model: as told, or as the job or the file says."""
    if request.world_size is not None:
        return request.world_size
    if request.is_live:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            return dist.get_world_size()
    size = inspection.checkpoint.facts.get("world_size")
    return size if isinstance(size, int) and size > 0 else None
