"""Which versions of a training run stay: those that its rules keep, the best one, and every one that somebody named."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import EllipsisType
from typing import Any, Literal

import torch.distributed as dist
from torch import nn

from registry.catalog.entry import Entry
from registry.errors.catalog import PurgedVersion, TrashedVersion, UnknownModel, UnknownVersion
from registry.errors.root import shown
from registry.errors.upkeep import MonitorNeedsMode, NothingKept, TopNeedsMetric, TwoSettings
from registry.errors.warned import warn
from registry.home.arguments import checked
from registry.modules.builders.table import of_class
from registry.modules.layout import model_class
from registry.modules.origin import resumed_from
from registry.registry import Registry, default_registry
from registry.upkeep.retention import Best, Rules, decide, others

LAST, BEST = "last", "best"
"""The aliases that follow a run."""

USUAL = 3
"""Newest versions that stay where nothing is said."""


class Keeper:
    """Pushes the versions of one run, points ``last`` and ``best`` at them, and puts what no rule keeps into the trash.

    The rules are those of ``registry.prune``, over the versions of this run alone: none that was there before with the
    same weights, none that somebody else pushed, too, and none that an alias points to is ever removed. What the run
    made stands in the catalog, so that a process that resumes it goes on with the same versions. ``registry restore``
    takes versions back.

    Args:
        name: the model's name.
        hub: the registry; by default the one of ``REGISTRY_HOME``.
        keep_last: number of newest versions of this run that stay, 3 by default; None says nothing of the newest, and
            where no other rule is given, keeps all.
        keep_best: the best of this run by a metric stay, too: ``"acc:3"``, ``"loss:3:min"``.
        keep_tags: those with a tag stay, too.
        keep_within: those stay, too, that were pushed in the last ``"12h"``.
        best_by: the metric by which a version becomes ``best``; None leaves that alias alone.
        mode: whether more of it is better (``"max"``, the default) or less (``"min"``).
        monitor: Lightning's word for ``best_by``; it needs ``mode``, whose default there is another.
        save_top_k: Lightning's word for that many of ``keep_best`` by this metric; the newest version stays, too, and
            -1 keeps all.
        run: id of the run; by default that of the version that ``registry.resume`` put into the model, or of the
            trainer's checkpoint, and else a new one.
    """

    @checked
    def __init__(
        self,
        name: str,
        *,
        hub: Registry | None = None,
        keep_last: int | EllipsisType | None = ...,
        keep_best: Sequence[str] = (),
        keep_tags: Sequence[str] = (),
        keep_within: timedelta | str | None = None,
        best_by: str | None = None,
        mode: Literal["max", "min"] | None = None,
        monitor: str | None = None,
        save_top_k: int | None = None,
        run: str | None = None,
    ) -> None:
        self.name = name
        self.hub = hub if hub is not None else default_registry()
        if monitor is not None and mode is None:
            raise MonitorNeedsMode(monitor)
        if monitor is not None and best_by not in (None, monitor):
            raise TwoSettings(f"best_by='{best_by}'", f"monitor='{monitor}'")
        self._best_by = best_by if best_by is not None else monitor
        self._sign = -1.0 if mode == "min" else 1.0
        best = [Best.of(rule) for rule in keep_best]
        if save_top_k is not None and save_top_k >= 0:
            best.append(self._top(save_top_k, mode or "max"))
        if keep_last is ...:
            keep_last = USUAL if save_top_k is None else None if save_top_k < 0 else 1
        within: Any = keep_within
        self._rules = Rules(keep_last, tuple(best), keep_tags=tuple(keep_tags), keep_within=within)
        self._run = run
        self._came: set[str] | None = None
        """Metrics that came with the versions; None as long as there are none."""

    def _top(self, count: int, mode: str) -> Best:
        if count == 0:
            raise NothingKept
        if self._best_by is None:
            raise TopNeedsMetric(count)
        return Best(self._best_by, count, mode)

    @property
    def run(self) -> str | None:
        """Id of the run; None as long as it has pushed nothing, and nothing told what it goes on with."""
        return self._run

    def goes_on(self, run: object) -> None:
        """Go on with the run of a checkpoint that the trainer restores, unless one was given."""
        if self._run is None and isinstance(run, str) and run:
            self._run = run

    def push(self, source: Any, metrics: Mapping[str, Any], **facts: Any) -> Entry:
        """Push a version, on every rank of the job, settle what stays, and print a line.

        Args:
            metrics: what was measured; what is not a finite number is left out, since a diverged loss should not
                lose the checkpoint.
            facts: further arguments of ``registry.push``.

        Raises:
            RegistryError: as ``registry.push`` does.
        """
        if isinstance(source, nn.Module) and of_class(model_class(source)) == "peft":
            facts.setdefault("with_base", "base" not in facts)  # no step of a training is lost over it
        self._run = run = self._run or self._resumed(source) or uuid.uuid4().hex
        figures = finite(metrics)
        self._came = (self._came or set()) | figures.keys()
        entry: Entry = self.hub.push(source, self.name, metrics=figures, aliases=(LAST,), run=run, **facts)
        if not dist.is_initialized() or dist.get_rank() == 0:
            is_best, removed = self._settle(entry, run)
            print(_line(entry, figures, is_best, removed), flush=True)
        return entry

    def _resumed(self, source: Any) -> str | None:
        """Return the run that a model goes on with, since ``registry.resume`` brought it back."""
        origin = resumed_from(source) if isinstance(source, nn.Module) else None
        if origin is None:
            return None
        try:
            entry = self.hub.get(origin.ref)
        except (UnknownModel, UnknownVersion, TrashedVersion, PurgedVersion):
            return None
        return entry.run if entry.name == self.name and entry.digest == origin.digest else None

    def finish(self) -> None:
        """Warn, at the end of a training, of metrics that decide and that came with no version."""
        came, self._came = self._came, None
        if came is None:
            return
        asked = [self._best_by] if self._best_by is not None else []
        for metric in dict.fromkeys([*asked, *(best.metric for best in self._rules.keep_best)]):
            if metric not in came:
                has = f"they have {', '.join(sorted(came))}" if came else "they have none"
                why = f"has the metric '{metric}', by which the best is chosen; {has}"
                warn(f"no version of {self.name} that this run stored {why}")

    def _settle(self, entry: Entry, run: str) -> tuple[bool, list[str]]:
        """Decide what is best and what goes, in one transaction: another run may be about to decide the same."""
        removed = []
        with self.hub.catalog.write_lock():
            if is_best := self._is_best(entry):
                self.hub.alias(entry.ref, BEST)
            lineage = self.hub.catalog.lineage
            mine = lineage.of_run(entry.uid, run)
            if not self._rules.is_empty and self._rules.are_measured(mine):
                stay = others(lineage.descents(), mine)
                for verdict in reversed(decide(mine, self._rules, datetime.now(UTC), stay)):
                    if not verdict.reasons and lineage.pushed_by(verdict.entry) == {run}:
                        self.hub.rm(verdict.entry.ref)
                        removed.append(verdict.entry.ref)
        return is_best, removed

    def _is_best(self, entry: Entry) -> bool:
        if self._best_by is None or self._best_by not in entry.metrics:
            return False
        try:
            mine = self.hub.get(entry.ref).metrics
            standing = self.hub.get(f"{self.name}:{BEST}").metrics.get(self._best_by)
        except (TrashedVersion, PurgedVersion):
            return False  # somebody was faster
        except UnknownVersion:
            return True
        return standing is None or self._sign * mine[self._best_by] > self._sign * standing


def _line(entry: Entry, figures: Mapping[str, float], is_best: bool, removed: Sequence[str]) -> str:
    """Say in one line what was stored."""
    aliases = [LAST, *([BEST] if is_best else [])]
    words = [f"registry: {'already stored as' if entry.reused else 'stored'} {entry.ref} ({', '.join(aliases)})"]
    words += [f"{key}={value:g}" for key, value in list(figures.items())[:4]]
    if removed:
        words.append(f"trashed {', '.join(removed)}")
    return shown("  ".join(words))


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return those metrics that are finite numbers, tensors of one element included."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            continue
        if math.isfinite(number) and not isinstance(value, str):
            found[name] = number
    return found
