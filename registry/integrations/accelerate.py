"""Accelerate: ``saver = RegistrySaver(accelerator, "pointnet")``, then ``saver.save(model, metrics={"acc": acc})``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator

from registry.catalog.entry import Entry
from registry.integrations.retention import Keeper


class RegistrySaver:
    """Pushes prepared models as they are: what ``accelerator.prepare`` put around them is known from the objects.

    Args:
        accelerator: the job's accelerator.
        name: the model's name in the registry.
        retention: arguments of ``registry.integrations.retention.Keeper``.
    """

    def __init__(self, accelerator: Accelerator, name: str, **retention: Any) -> None:
        self.accelerator = accelerator
        self.keeper = Keeper(name, **retention)

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
