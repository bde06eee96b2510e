"""Hugging Face: ``Trainer(..., callbacks=[RegistryCallback("classifier", best_by="eval_accuracy")])``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.training_args import ParallelMode

from registry.integrations.beginning import confirm_loaded
from registry.integrations.configuration import construction
from registry.integrations.retention import Keeper


class RegistryCallback(TrainerCallback):
    """Pushes the model whenever the Trainer saves (``save_strategy``), with the metrics of its last evaluation.

    The states of optimizer and scheduler go with it, for ``registry.resume``, unless ``save_only_model`` is set.

    Args:
        name: the model's name in the registry.
        example: keyword inputs whose outputs are kept with each version, such as a tokenizer's encoding.
        check_weights: refuse to start if the model no longer holds what ``registry.load`` or ``resume`` put into it.
        retention: arguments of ``registry.integrations.retention.Keeper``.
    """

    def __init__(self, name: str, *, example: object = None, check_weights: bool = True, **retention: Any) -> None:
        self.keeper = Keeper(name, **retention)
        self.check_weights = check_weights
        self.example = example
        self._metrics: Mapping[str, Any] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Check, on every rank, what was loaded, unless the Trainer goes on from a checkpoint of its own."""
        if self.check_weights and not state.global_step:
            confirm_loaded(model, self.keeper.hub)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep what was measured, but for how fast, for the save that follows."""
        self._metrics = {
            n: value for n, value in (metrics or {}).items() if not n.endswith(("_runtime", "_per_second"))
        }

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Push, on every rank."""
        facts = construction(model) if isinstance(model, PreTrainedModel) else {}
        if args.parallel_mode is ParallelMode.DISTRIBUTED and not args.fsdp and not args.deepspeed:
            facts["from_"] = "ddp"  # the Trainer hands out what is inside of its wrapper
        if not args.save_only_model:
            facts.update(optimizer=kwargs.get("optimizer"), scheduler=kwargs.get("lr_scheduler"))
            facts.update(step=state.global_step, epoch=int(state.epoch or 0))
        self.keeper.push(model, self._metrics, world_size=args.world_size, example=self.example, **facts)
