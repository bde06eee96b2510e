"""Which versions of a training run stay: the last few, the best one, and every one that somebody named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch.distributed as dist

from registry.arguments import checked
from registry.catalog.entry import Entry
from registry.errors.catalog import AliasedVersion, PurgedVersion, TrashedVersion, UnknownVersion
from registry.registry import Registry, default_registry

LAST, BEST = "last", "best"
"""The aliases that follow a run."""


class Keeper:
    """Pushes the versions of one run, points ``last`` and ``best`` at them, and puts what is older into the trash.

    Only versions that this run pushed are ever removed, and none that an alias points to; ``registry restore`` takes
    them back.

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
        self._pushed: list[str] = []

    def push(self, source: Any, metrics: Mapping[str, Any], **facts: Any) -> Entry:
        """Push a version, on every rank of the job, and settle what stays.

        Args:
            metrics: what was measured; what is no finite number is left out, since a diverged loss is no reason to
                lose the checkpoint.
            facts: further arguments of ``registry.push``.

        Raises:
            RegistryError: as ``registry.push`` does.
        """
        entry: Entry = self.hub.push(source, self.name, metrics=finite(metrics), aliases=(LAST,), **facts)
        if not dist.is_initialized() or dist.get_rank() == 0:
            self._settle(entry)
        return entry

    def _settle(self, entry: Entry) -> None:
        if self._is_best(entry):
            self.hub.alias(entry.ref, BEST)
        self._pushed = [ref for ref in self._pushed if ref != entry.ref] + [entry.ref]
        if self._keep_last is None:
            return
        for ref in self._pushed[: -self._keep_last]:
            try:
                self.hub.rm(ref)
            except AliasedVersion:
                continue  # asked again next time: the name may be taken away
            except (TrashedVersion, PurgedVersion):
                pass  # somebody was faster
            self._pushed.remove(ref)

    def _is_best(self, entry: Entry) -> bool:
        if self._best_by is None or self._best_by not in entry.metrics:
            return False
        try:
            champion = self.hub.get(f"{self.name}:{BEST}")
        except UnknownVersion:
            return True
        standing = champion.metrics.get(self._best_by)
        return standing is None or self._sign * entry.metrics[self._best_by] > self._sign * standing


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
