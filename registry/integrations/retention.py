"""Which versions of a training run stay: the last few, the best one, and every one that somebody named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch.distributed as dist
from torch import nn

from registry.catalog.entry import Entry
from registry.errors.catalog import AliasedVersion, PurgedVersion, TrashedVersion, UnknownVersion
from registry.home.arguments import checked
from registry.modules.builders.table import of_class
from registry.modules.layout import model_class
from registry.registry import Registry, default_registry

LAST, BEST = "last", "best"
"""The aliases that follow a run."""


class Keeper:
    """Pushes the versions of one run, points ``last`` and ``best`` at them, and puts what is older into the trash.

    Only versions that this run made are ever removed: none that was there before with the same weights, none that
    somebody else pushed, too, and none that an alias points to. ``registry restore`` takes them back.

    Args:
        name: the model's name.
        hub: the registry; by default the one of ``REGISTRY_HOME``.
        keep_last: number of newest versions of this run that stay; None keeps all.
        best_by: the metric by which a version becomes ``best``; None leaves that alias alone.
        mode: whether more (``"max"``) or less (``"min"``) of it is better.
    """

    @checked
    def __init__(
        self,
        name: str,
        *,
        hub: Registry | None = None,
        keep_last: int | None = 3,
        best_by: str | None = None,
        mode: Literal["max", "min"] = "max",
    ) -> None:
        self.name = name
        self.hub = hub if hub is not None else default_registry()
        self._keep_last = keep_last
        self._best_by = best_by
        self._sign = 1.0 if mode == "max" else -1.0
        self._made: dict[str, int] = {}
        """How often this run pushed each version that it made, by reference; the one that it pushed last comes last."""

    def push(self, source: Any, metrics: Mapping[str, Any], **facts: Any) -> Entry:
        """Push a version, on every rank of the job, and settle what stays.

        Args:
            metrics: what was measured; what is no finite number is left out, since a diverged loss is no reason to
                lose the checkpoint.
            facts: further arguments of ``registry.push``.

        Raises:
            RegistryError: as ``registry.push`` does.
        """
        if isinstance(source, nn.Module) and of_class(model_class(source)) == "peft":
            facts.setdefault("with_base", "base" not in facts)  # no step of a training is lost over it
        entry: Entry = self.hub.push(source, self.name, metrics=finite(metrics), aliases=(LAST,), **facts)
        if not dist.is_initialized() or dist.get_rank() == 0:
            self._settle(entry)
        return entry

    def _settle(self, entry: Entry) -> None:
        """Decide what is best and what goes, in one transaction: another run may be about to decide the same."""
        if not entry.reused or entry.ref in self._made:
            self._made[entry.ref] = self._made.pop(entry.ref, 0) + 1
        with self.hub.catalog.write_lock():
            if self._is_best(entry):
                self.hub.alias(entry.ref, BEST)
            if self._keep_last is not None:
                for ref in [*self._made][: -self._keep_last]:
                    self._remove(ref)

    def _remove(self, ref: str) -> None:
        """Put a version into the trash, unless somebody else wants it."""
        try:
            if self.hub.catalog.pushes(self.hub.get(ref)) == self._made[ref]:
                self.hub.rm(ref)
        except AliasedVersion:
            return  # asked again next time: the name may be taken away
        except (TrashedVersion, PurgedVersion):
            pass  # somebody was faster
        del self._made[ref]

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
