"""From a training file that somebody saved to its training state, as far as that can be proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.attachments.attachment import Attachment
from registry.attachments.training.nesting import flatten
from registry.attachments.training.optimizer import by_name, check_shapes
from registry.attachments.training.order import proved_order, shapes_of
from registry.checkpoints.inventory import is_tensor
from registry.checkpoints.states import Kind, states_in
from registry.errors.checkpoints import UnencodableValue
from registry.errors.root import RegistryError
from registry.errors.training import UnprovedOrder
from registry.inspection import Inspection
from registry.modules.anatomy import named_parameters
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.paths import below
from registry.tensors.source import TensorSource

_SCHEDULERS = ("scheduler", "schedulers", "scheduler_state_dict", "lr_scheduler", "lr_schedulers", "lr_sched", "sched")
_SCALERS = ("scaler", "scaler_state_dict", "grad_scaler", "amp_scaler")
_STEPS = ("global_step", "step", "iteration", "iter")
_EPOCHS = ("epoch",)


@dataclass(frozen=True)
class TrainingFile:
    """What is kept of the training state in a file."""

    attachment: Attachment | None = None
    notes: tuple[str, ...] = ()
    """What has to be said of it."""
    counters: tuple[Any, ...] = ()
    """Tensors that are kept as numbers."""

    @property
    def tensors(self) -> tuple[Any, ...]:
        """The tensors in the file that are kept."""
        return (*(self.attachment.tensors.values() if self.attachment else ()), *self.counters)


def attach_file(inspection: Inspection) -> TrainingFile:
    """Return the training state that a file holds beside its weights, and what has to be said of it.

    A file counts as one of a training if it holds the state of an optimizer. That goes by position; it is keyed by
    name where the names stand in it, or where the class is given and has the parameters in the file's own order.
    """
    training = inspection.checkpoint.training
    states: dict[Kind, list[Mapping[str, Any]]] = {"optimizer": [], "scheduler": [], "scaler": []}
    for kind, found in states_in(dict(training)):
        states[kind].append(found)
    if not states["optimizer"]:
        return TrainingFile()
    state: dict[str, Any] = {"kinds": {}}
    notes: list[str] = []

    def keep(part: str, read: Callable[[], Any]) -> None:
        try:
            value = read()
            if value is not None:
                flatten({part: value}, _source)
                state[part] = value
        except RegistryError as error:
            notes.append(f"the file's {part} is not kept; {error}")

    keep("optimizer", lambda: _optimizer(inspection, states["optimizer"]))
    keep("scheduler", lambda: _only("scheduler", states["scheduler"], training, _SCHEDULERS))
    keep("scaler", lambda: _only("scaler", states["scaler"], training, _SCALERS))
    keep("step", lambda: _count("step", training, _STEPS))
    keep("epoch", lambda: _count("epoch", training, _EPOCHS))
    counted = [key for part, keys in (("step", _STEPS), ("epoch", _EPOCHS)) if part in state for key in keys]
    counters = tuple(training[key] for key in counted if is_tensor(training.get(key)))
    attachment = flatten(state, _source) if len(state) > 1 else None
    return TrainingFile(attachment, tuple(notes), counters)


def _optimizer(inspection: Inspection, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(states) > 1:
        raise UnprovedOrder(f"the file holds {len(states)} optimizers and does not say which parameters each has")
    [state] = states
    if not isinstance(state["param_groups"], list) or not all(isinstance(e, Mapping) for e in state["state"].values()):
        raise UnprovedOrder("it is not in the form in which torch saves one")
    shapes = {name: source.spec.shape for name, source in inspection.tensors.items()}
    named = by_name(state, _names(inspection, state), shapes)
    check_shapes(named, shapes)
    return named


def _names(inspection: Inspection, state: Mapping[str, Any]) -> list[str]:
    """Return the canonical names of the parameters in the order in which the optimizer had them.

    Raises:
        UnprovedOrder: nothing proves an order.
    """
    groups = state["param_groups"]
    if all(len(group.get("param_names") or ()) == len(group["params"]) for group in groups):
        renamed = {**{name: name for name in inspection.tensors}, **inspection.form.tensors}
        given = [name for group in groups for name in group["param_names"]]
        if all(name in renamed for name in given):
            return [renamed[name] for name in given]
    if inspection.probe is None:
        raise UnprovedOrder("only the model's class knows their order; push it with --model")
    parameters = named_parameters(inspection.probe.module)
    count = sum(len(group["params"]) for group in groups)
    trainable = [name for name, parameter in parameters.items() if parameter.requires_grad]
    if count not in (len(parameters), len(trainable)):
        raise UnprovedOrder(f"the optimizer has {count} parameters and the class {len(parameters)}")
    if [name for name in inspection.form.tensors.values() if name in parameters] != list(parameters):
        raise UnprovedOrder("the file lists the parameters in another order than the class has them")
    names = list(parameters) if count == len(parameters) else trainable
    parts = inspection.recipe.by_part
    if len(groups) == 1 and not parts:
        return names
    positions = [[shapes_of(state["state"].get(at, {})) for at in group["params"]] for group in groups]
    models = [list(below(part, names)) for part in parts] or [names]
    return proved_order(positions, models, {name: tuple(parameters[name].shape) for name in names})


def _only(part: str, states: Sequence[Mapping[str, Any]], training: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """Return the one state of a kind; one that torch did not write is found where people put it."""
    found = list(states) or [state for key in keys for state in _each(training.get(key)) if isinstance(state, Mapping)]
    if len(found) > 1:
        raise UnencodableValue(part, f"the file holds {len(found)} of them")
    return found[0] if found else None


def _count(part: str, training: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = training.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        source = _source(value, part)
        if source is not None and source.spec.numel == 1 and "int" in source.spec.dtype:
            return int.from_bytes(source.buffer(), "little", signed=not source.spec.dtype.startswith("u"))
    return None


def _each(value: Any) -> list[Any]:
    """Return the elements of a list, as Lightning has its optimizers, or the value as the only one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _source(value: Any, path: str) -> TensorSource | None:
    if not hasattr(value, "spec") or not hasattr(value, "buffer"):
        return None
    if value.spec.dtype not in ITEM_SIZES:
        raise UnencodableValue(path, f"a tensor of {value.spec.dtype} cannot be stored")
    source: TensorSource = value
    return source
