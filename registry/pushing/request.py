"""What is pushed, and what is said of it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.attachments.attachment import Attachment, Job
from registry.catalog.entry import Entry
from registry.catalog.version import check_metrics, check_note, check_run, check_tags
from registry.errors.intake import NameNeeded
from registry.errors.training import JobNeedsModel
from registry.home.home import Home
from registry.inspection import Inspection, Question
from registry.pushing.background import copied
from registry.pushing.provenance import SourceDigest
from registry.reference import (
    check_alias,
    check_new_model_name,
    file_stem,
    is_older_name,
    legal_name,
    may_be_new,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PushRequest:
    """What ``push`` was called with."""

    source: str | os.PathLike[str] | nn.Module | Mapping[str, Any]
    name: str | None
    """Of the model; by default the file's stem."""
    question: Question
    timeout: timedelta
    """How long the ranks of a job wait for each other."""
    world_size: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    parent: str | None = None
    """Reference of the version that it was trained from; resolved on the rank that writes."""
    note: str = ""
    force_new: bool = False
    loop: Job = field(default_factory=Job)
    """What surrounds the model in its training."""
    run: str | None = None
    """Id of the training run."""
    example: object = None
    base: str | None = None
    """Reference of the version that an adapter is of."""
    with_base: bool = False
    """Whether the base of a live adapter is stored, too, where it is not here."""
    progress: Callable[[int, int], object] | None = None
    is_import: bool = False
    """Whether nobody asked for this file: that its weights are there already is then no event."""

    @property
    def is_live(self) -> bool:
        """Whether a module is pushed, and no file and no state dict."""
        return not isinstance(self.source, (str, os.PathLike, Mapping))

    def check(self) -> None:
        """Refuse what could not be kept with a version.

        Raises:
            JobNeedsModel: as ``job``.
            InvalidAlias, InvalidMetric, InvalidTag, InvalidFact: naming the part.
        """
        self.job()
        for alias in self.aliases:
            check_alias(alias)
        check_metrics(self.metrics)
        check_tags(self.tags)
        check_note(self.note)
        check_run(self.run)

    def job(self) -> Job | None:
        """Return what surrounds the model in its training loop, where that is given.

        Raises:
            JobNeedsModel: with something else than a live model.
        """
        if all(part in (None, {}) for part in vars(self.loop).values()):
            return None
        if not self.is_live:
            raise JobNeedsModel(str(self.name))
        return self.loop


@dataclass(frozen=True)
class Prepared:
    """Everything that is going to be stored."""

    name: str
    inspection: Inspection
    attachments: Mapping[str, Attachment]
    parent: Entry | None
    world_size: int | None
    base: str | None = None
    """Digest of the weights that an adapter is of."""
    source: SourceDigest = field(default_factory=SourceDigest)
    """Of the files that it comes from; begun already where a version is certain."""
    was_asked: bool = False
    """Whether the catalog has said that the name may get a version."""

    def copied(self) -> Prepared:
        """Return the same in memory that the training does not write to; nor are files read any more.

        Raises:
            ChangedCheckpoint, UnopenableCheckpoint: somebody has written to a file, or it cannot be read.
        """
        self.source.start()
        try:
            weights = self.inspection.weights
            weights = replace(weights, tensors=copied(weights.tensors), values=copy.deepcopy(weights.values))
            attachments = {
                kind: Attachment(copied(a.tensors), copy.deepcopy(a.values)) for kind, a in self.attachments.items()
            }
            self.source.settle()
        except BaseException:
            self.source.stop()
            raise
        return replace(self, inspection=replace(self.inspection, weights=weights), attachments=attachments)


def name_of(home: Home, source: object, name: str | None) -> str:
    """Return the model's name: the given one, else the file's stem, or the legal name that looks like it.

    Raises:
        InvalidModelName, NamedLikeAFile: it is not a legal name, or a new model may not bear it.
        FormerName: a model had it before.
        NameNeeded: none was given for an object in memory.
    """
    if name is None:
        if not isinstance(source, (str, os.PathLike)):
            raise NameNeeded("an object in memory")
        # '.' and '..' have no name of their own.
        is_named = Path(source).name not in ("", "..")
        name = file_stem(source if is_named else Path(source).resolve())
        if not may_be_new(name) and not _is_older(home, name):
            name = legal_name(name) or name
    if may_be_new(name):
        return name
    return name if _is_older(home, name) else check_new_model_name(name)


def _is_older(home: Home, name: str) -> bool:
    """Whether a model has a name that no new one may bear: it was named before the rule, and keeps it."""
    return is_older_name(name) and home.is_made and home.catalog.knows(name)
