"""Lightning: ``Trainer(callbacks=[RegistryCheckpoint("pointnet", best_by="val_acc")])``."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from registry.integrations.beginning import confirm_loaded
from registry.integrations.retention import Keeper
from registry.modules.building.remember import remember_if_possible, remembered


class RegistryCheckpoint(Checkpoint):
    """Pushes the LightningModule at the end of training epochs, after the validation that belongs to them.

    Its class is the LightningModule's, its init arguments are what ``save_hyperparameters`` kept, and the wrapper of
    the strategy (DDP, FSDP) is known from the objects. As a ``Checkpoint`` it takes the place of Lightning's own.

    Args:
        name: the model's name in the registry.
        every_n_epochs: push after every so many epochs, and after the last one.
        save_weights_only: leave out step, epoch and the states of optimizer and scheduler, which ``registry.resume``
            puts back; of several optimizers or schedulers none is kept.
        example: inputs whose outputs are kept with each version.
        check_weights: refuse to start if the model no longer holds what ``registry.load`` or ``resume`` put into it.
        retention: arguments of ``registry.integrations.retention.Keeper``.
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
        """Remember the init arguments; one that cannot be stored is refused here, before anything is trained."""
        if remembered(pl_module) is None and pl_module.hparams_initial:
            remember_if_possible(pl_module, dict(pl_module.hparams_initial))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, on every rank, what was loaded; what Lightning itself restored (``ckpt_path``) is no load of ours."""
        if self.check_weights and not trainer.ckpt_path:
            confirm_loaded(trainer.model, self.keeper.hub)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Push, on every rank."""
        done = trainer.current_epoch + 1
        if trainer.fast_dev_run or (done % self.every_n_epochs and done != trainer.max_epochs):
            return
        job = {} if self.save_weights_only else _job(trainer)
        facts = {"world_size": trainer.world_size, "example": self.example, **job}
        self.keeper.push(trainer.model, trainer.callback_metrics, **facts)


def _job(trainer: Trainer) -> dict[str, Any]:
    parts = {"optimizer": trainer.optimizers, "scheduler": [c.scheduler for c in trainer.lr_scheduler_configs]}
    lone = {part: owners[0] for part, owners in parts.items() if len(owners) == 1}
    return {"step": trainer.global_step, "epoch": trainer.current_epoch, **lone}
