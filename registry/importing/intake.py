"""Bringing in a folder from beginning to end: surveyed, planned, pushed file by file, reported."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from registry.checkpoints.mapping import status_of
from registry.errors.importing import NotAFolder
from registry.errors.root import RegistryError
from registry.home.home import Home
from registry.importing.forecast import Forecast, line_of
from registry.importing.plan import Step, plan
from registry.importing.recognition import QUESTION, refused
from registry.importing.report import ImportLine, ImportReport
from registry.importing.survey import Survey, natural
from registry.pushing.push import push
from registry.pushing.request import PushRequest, name_of

Progress = Callable[[int, int], object]
_NO_JOB = timedelta(minutes=10)
"""What a push waits for other ranks; a file has none."""


def import_folder(
    home: Home, folder: str | os.PathLike[str], name: str | None, *, dry_run: bool, progress: Progress | None
) -> ImportReport:
    """Push every checkpoint of a folder, or only say what would come of it.

    Raises:
        NoSuchCheckpoint, NotAFolder: there is no such folder.
        MixedModels, OtherModel, InvalidModelName: it cannot become one model of this name; nothing was pushed.
    """
    root = Path(folder).absolute()
    status_of(root)
    if not root.is_dir():
        raise NotAFolder(str(folder))
    if name is not None:
        name_of(home, root, name)
    found = Survey(root, home.folder, closely=dry_run).found()
    bar = _Bar(progress, sum(line.byte_count for line in found))
    steps = plan(home, root, found, name, bar.passed)
    lines = Forecast(home).lines(steps) if dry_run else (_carried_out(home, step, bar) for step in steps)
    return ImportReport(folder=root, lines=tuple(sorted(lines, key=lambda line: natural(line.path))), dry_run=dry_run)


class _Bar:
    """One progress over the bytes of all files."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def passed(self, nbytes: int) -> None:
        """Count a file as done."""
        self._done += nbytes
        self._show(self._done)

    def within(self, nbytes: int) -> Progress:
        """Return what a push of so many bytes reports to."""
        return lambda done, total: self._show(self._done + (nbytes * done // total if total else 0))

    def _show(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._total)


def _carried_out(home: Home, step: Step, bar: _Bar) -> ImportLine:
    if not step.is_push:
        return line_of(step)
    found = step.found
    request = PushRequest(
        found.place,
        step.name,
        QUESTION,
        _NO_JOB,
        metrics=found.metrics,
        progress=bar.within(found.byte_count),
        is_import=True,
    )
    try:
        entry = push(home, request)
    except RegistryError as error:
        return line_of(replace(step, found=refused(found, error)))
    finally:
        bar.passed(found.byte_count)
    line = replace(line_of(step), name=entry.name, version=entry.version, notices=entry.notices)
    return replace(line, verdict="same weights") if entry.reused else line
