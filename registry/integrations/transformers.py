"""Hugging Face: ``Trainer(..., callbacks=[RegistryCallback("classifier", best_by="eval_accuracy")])``."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.training_args import ParallelMode

from registry.integrations.retention import Keeper


class RegistryCallback(TrainerCallback):
    """Pushes the model whenever the Trainer saves (``save_strategy``), with the metrics of its last evaluation.

    Args:
        name: the model's name in the registry.
        example: keyword inputs whose outputs are kept with each version, such as a tokenizer's encoding.
        retention: arguments of ``registry.integrations.retention.Keeper``.
    """

    def __init__(self, name: str, *, example: object = None, **retention: Any) -> None:
        self.keeper = Keeper(name, **retention)
        self.example = example
        self._metrics: Mapping[str, Any] = {}

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
        self.keeper.push(model, self._metrics, world_size=args.world_size, example=self.example, **facts)


def construction(model: PreTrainedModel) -> dict[str, Any]:
    """Return what ``registry.push`` is to know of how a model of transformers is made: from its configuration."""
    config = json.loads(model.config.to_json_string(use_diff=True))
    target = f"{type(model).__module__}:{type(model).__qualname__}"
    return {"model": f"{__name__}:configured", "init": {"model": target, "config": config}}


def configured(model: str, config: Mapping[str, Any]) -> PreTrainedModel:
    """Make a model of transformers of its class (``"package.module:Class"``) and the values of its configuration."""
    module, _, name = model.partition(":")
    cls: type[PreTrainedModel] = getattr(importlib.import_module(module), name)
    return cls(cls.config_class.from_dict(dict(config)))
