"""Accelerate: ``saver = RegistrySaver(accelerator, "pointnet")``, then ``saver.save(model, metrics={"acc": acc})``."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator

from registry.catalog.entry import Entry
from registry.integrations.beginning import confirm_loaded
from registry.integrations.retention import Keeper


class RegistrySaver:
    """Pushes prepared models as they are: what ``accelerator.prepare`` put around them is known from the objects.

    Made after ``accelerator.prepare`` and before the first step, it checks that the models still hold what was loaded
    into them; ``begin`` does so for one that is prepared later.

    Args:
        accelerator: the job's accelerator.
        name: the model's name in the registry.
        check_weights: refuse to start if a model no longer holds what ``registry.load`` or ``resume`` put into it.
        retention: arguments of ``registry.integrations.retention.Keeper``.
    """

    def __init__(self, accelerator: Accelerator, name: str, *, check_weights: bool = True, **retention: Any) -> None:
        self.accelerator = accelerator
        self.keeper = Keeper(name, **retention)
        if accelerator.is_main_process:
            weakref.finalize(self, self.keeper.finish)
        if check_weights:
            for model in accelerator._models:
                self.begin(model)

    def begin(self, model: Any) -> None:
        """Check that a model still holds what ``registry.load`` or ``resume`` put into it; every process calls it.

        Raises:
            WeightsDiffer: it does not; on any process, on all.
        """
        confirm_loaded(model, self.keeper.hub)

    def save(self, model: Any, metrics: Mapping[str, Any] | None = None, **facts: Any) -> Entry:
        """Push a prepared model; every process of the job calls it, and no process goes on before it is stored.

        Args:
            metrics: what was measured.
            facts: further arguments of ``registry.push``.

        Raises:
            RegistryError: as ``registry.push`` does.
        """
        entry = self.keeper.push(model, metrics or {}, world_size=self.accelerator.num_processes, **facts)
        self.accelerator.wait_for_everyone()
        return entry

    def finish(self) -> None:
        """Warn if the metric never came that decides which is best; without it, this is said when the process ends."""
        if self.accelerator.is_main_process:
            self.keeper.finish()
