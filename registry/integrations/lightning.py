"""Lightning: ``Trainer(callbacks=[RegistryCheckpoint("pointnet", best_by="val_acc")])``."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, __version__
from lightning.pytorch.callbacks import Checkpoint

from registry.catalog.entry import Entry
from registry.errors.training import NoTrainerState
from registry.home.arguments import checked
from registry.home.home import Home
from registry.integrations.beginning import confirm_loaded
from registry.integrations.placing import Said, place, storable
from registry.integrations.retention import Keeper
from registry.loading.handover import inside, training_state, with_counters
from registry.modules.building.remember import remember_if_possible, remembered
from registry.registry import Registry, default_registry

STATE = "lightning"
"""The name under which a version keeps where Lightning stood."""


class RegistryCheckpoint(Checkpoint):
    """Pushes the LightningModule at the end of training epochs, after the validation that belongs to them.

    Its class is the LightningModule's, its constructor arguments are what ``save_hyperparameters`` kept, and the
    wrapper of the strategy (DDP, FSDP) is known from the objects. As a ``Checkpoint`` it takes the place of Lightning's
    own.

    Args:
        name: the model's name in the registry.
        every_n_epochs: push after every N epochs, and after the last one.
        save_weights_only: leave out step, epoch and the states of optimizer and scheduler, which ``registry.resume``
            puts back, and what ``checkpoint`` needs; ``resume`` puts back none of several optimizers or schedulers.
        example: inputs whose outputs are kept with each version.
        check_weights: refuse to start if the model no longer holds what ``registry.load`` or ``resume`` put into it.
        retention: arguments of ``registry.integrations.retention.Keeper``; ``monitor``, ``mode`` and ``save_top_k``
            are understood, too.
    """

    def __init__(
        self,
        name: str,
        *,
        every_n_epochs: int = 1,
        save_weights_only: bool = False,
        example: Any = None,
        check_weights: bool = True,
        **retention: Any,
    ) -> None:
        self.keeper = Keeper(name, **retention)
        self.check_weights = check_weights
        self.every_n_epochs, self.save_weights_only, self.example = every_n_epochs, save_weights_only, example

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remember the constructor arguments; one that cannot be stored is refused here, before anything is trained."""
        if remembered(pl_module) is None and pl_module.hparams_initial:
            remember_if_possible(pl_module, dict(pl_module.hparams_initial))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, on every rank, what was loaded here; what Lightning itself restored (``ckpt_path``) was not."""
        if self.check_weights and not trainer.ckpt_path:
            confirm_loaded(trainer.model, self.keeper.hub)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Push, on every rank."""
        done = trainer.current_epoch + 1
        if trainer.fast_dev_run or (done % self.every_n_epochs and done != trainer.max_epochs):
            return
        job = {} if self.save_weights_only else _job(trainer, pl_module)
        facts = {"world_size": trainer.world_size, "example": self.example, **job}
        self.keeper.push(trainer.model, trainer.callback_metrics, **facts)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn, on the first rank, if the metric never came that decides which is best."""
        if trainer.is_global_zero:
            self.keeper.finish()

    def state_dict(self) -> dict[str, Any]:
        """Return the run's id, by which a trainer that goes on from a checkpoint goes on with its versions."""
        return {"run": self.keeper.run}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the run of a checkpoint."""
        self.keeper.goes_on(state_dict.get("run"))


@checked
def checkpoint(ref: str | Entry, path: str | os.PathLike[str] | None = None, *, hub: Registry | None = None) -> str:
    """Write a version as a checkpoint of Lightning, for ``trainer.fit(model, ckpt_path=checkpoint("pointnet:last"))``.

    The trainer goes on after the epoch in which ``RegistryCheckpoint`` pushed it: weights, optimizers, schedulers,
    loops, callbacks. The states of optimizers are in the order in which the job had the parameters, as in Lightning's
    own files.

    Args:
        path: of the file; by default a temporary one, which is gone when the process ends. Every rank of a job may call
            it without; of one path that all ranks can read, only one may write it.
        hub: the registry; by default the one of ``REGISTRY_HOME``.

    Returns:
        The path.

    Raises:
        NoTrainerState: the version was not pushed by ``RegistryCheckpoint``, or with ``save_weights_only``.
        RegistryError: there is no such version, or its bytes are not what was stored.
    """
    hub = hub if hub is not None else default_registry()
    state = training_state(Home(hub.address), str(ref))
    entry = state.entry
    progress = dict(state.own.get(STATE) or {})
    if "loops" not in progress:
        raise NoTrainerState(entry.ref, "the progress of Lightning's loops", "RegistryCheckpoint")
    lone = {
        "optimizer_states": [] if state.optimizer is None else [state.optimizer],
        "lr_schedulers": [state.parts["scheduler"]] if "scheduler" in state.parts else [],
    }
    names = inside(entry.unwrapping)
    content = {
        "epoch": state.parts.get("epoch", 0),
        "global_step": state.parts.get("step", 0),
        "pytorch-lightning_version": progress.pop("version", __version__),
        "state_dict": {names.wrapped(name): value for name, value in hub.state_dict(entry.ref).items()},
        **lone,
        **with_counters(progress),
    }
    file = place(path, f"{entry.name.replace('/', '-')}-v{entry.version}.ckpt")
    torch.save(content, file)
    return str(file)


def _job(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    parts = {"optimizer": trainer.optimizers, "scheduler": [c.scheduler for c in trainer.lr_scheduler_configs]}
    lone = {part: owners[0] for part, owners in parts.items() if len(owners) == 1}
    progress = Said(_progress(trainer, module))
    return {"step": trainer.global_step, "epoch": trainer.current_epoch, **lone, "state": {STATE: progress}}


def _progress(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Return what a checkpoint of Lightning holds, but for the weights, a lone optimizer and a lone scheduler."""
    states = {callback.state_key: callback.state_dict() for callback in trainer.callbacks}
    schedulers = [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]
    owners = [owner for owner in (trainer.precision_plugin, trainer.datamodule) if owner is not None]
    found: dict[str, Any] = {type(owner).__qualname__: owner.state_dict() for owner in owners}
    if len(trainer.optimizers) > 1:
        found["optimizer_states"] = [trainer.strategy.optimizer_state(optimizer) for optimizer in trainer.optimizers]
    if len(schedulers) > 1:
        found["lr_schedulers"] = schedulers
    found = {key: value for key, value in found.items() if value}
    found["callbacks"] = storable({key: state for key, state in states.items() if state}, "the checkpoint")
    found["loops"] = {"fit_loop": trainer.fit_loop.state_dict()}
    found["version"] = __version__
    return {**_said_by_hooks(trainer, module), **storable(found, "the checkpoint")}


def _said_by_hooks(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Return what ``on_save_checkpoint`` of callbacks and of the LightningModule put into a checkpoint."""
    said: dict[str, Any] = {"state_dict": dict(module.state_dict()), "epoch": trainer.current_epoch}
    said["global_step"] = trainer.global_step
    there = set(said)
    for callback in trainer.callbacks:
        callback.on_save_checkpoint(trainer, module, said)
    module.on_save_checkpoint(said)
    return storable({key: value for key, value in said.items() if key not in there}, "the checkpoint")
