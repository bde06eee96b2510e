"""Hugging Face: ``Trainer(..., callbacks=[RegistryCallback("classifier", best_by="eval_accuracy")])``."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.training_args import ParallelMode

from registry.catalog.entry import Entry
from registry.errors.exports import CannotExport
from registry.errors.training import NoTrainerState
from registry.home.arguments import checked
from registry.home.home import Home
from registry.integrations.beginning import confirm_loaded
from registry.integrations.configuration import construction
from registry.integrations.placing import Said, place
from registry.integrations.retention import Keeper
from registry.loading.handover import training_state
from registry.registry import Registry, default_registry

STATE = "transformers"
"""The name under which a version keeps where the Trainer stood."""

_RUN = "registry"
"""Under this name, which is no callback's, the Trainer's own state says which run it is."""


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
        self.keeper.goes_on(state.stateful_callbacks.get(_RUN, {}).get("run"))
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
            facts.update(state={STATE: Said({"trainer_state": json.dumps(dataclasses.asdict(state))})})
        self.keeper.push(model, self._metrics, world_size=args.world_size, example=self.example, **facts)
        state.stateful_callbacks[_RUN] = {"run": self.keeper.run}

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Warn, on the first rank, if the metric never came that decides which is best."""
        if state.is_world_process_zero:
            self.keeper.finish()


@checked
def checkpoint(ref: str | Entry, path: str | os.PathLike[str] | None = None, *, hub: Registry | None = None) -> str:
    """Write a version as a checkpoint of the Trainer.

    ``trainer.train(resume_from_checkpoint=checkpoint("classifier:last"))``.

    The Trainer goes on at the step at which the version was pushed, with its optimizer and its schedule. The state of
    the optimizer is in the order in which the job had the parameters, as in the Trainer's own files.

    Args:
        path: of the folder; by default a temporary one, which is gone when the process ends. Every rank of a job may
            call it without; of one path that all ranks can read, only one may write it.
        hub: the registry; by default the one of ``REGISTRY_HOME``.

    Returns:
        The path.

    Raises:
        NoTrainerState: the version was pushed without its step or its optimizer, as with ``save_only_model``.
        RegistryError: there is no such version, or its bytes are not what was stored.
    """
    hub = hub if hub is not None else default_registry()
    state = training_state(Home(hub.address), str(ref))
    entry, step = state.entry, state.parts.get("step")
    if step is None or state.optimizer is None:
        lacks = "the step" if step is None else "the state of its optimizer"
        raise NoTrainerState(entry.ref, lacks, "RegistryCallback")
    folder = place(path, f"checkpoint-{step}")
    try:
        folder.mkdir()
    except OSError as error:
        raise CannotExport(str(folder), f"{error.strerror}; choose another folder") from error
    hub.export(entry.ref, folder / "model.safetensors")
    torch.save(state.optimizer, folder / "optimizer.pt")
    for part, file in (("scheduler", "scheduler.pt"), ("scaler", "scaler.pt")):
        if part in state.parts:
            torch.save(state.parts[part], folder / file)
    if "numpy" in (generators := state.parts.get("rng", {})):
        own = {"python": generators["python"], "numpy": generators["numpy"], "cpu": generators["torch"]}
        torch.save({**own, "cuda": generators["cuda"]} if "cuda" in generators else own, folder / "rng_state.pth")
    said = json.loads((state.own.get(STATE) or {}).get("trainer_state", "{}"))
    known = {each.name for each in dataclasses.fields(TrainerState)}
    said = {"epoch": float(state.parts.get("epoch", 0)), **{key: said[key] for key in said.keys() & known}}
    stood = TrainerState(**{**said, "global_step": step})
    if entry.run is not None:
        stood.stateful_callbacks[_RUN] = {"run": entry.run}
    stood.save_to_json(str(folder / "trainer_state.json"))
    return str(folder)
