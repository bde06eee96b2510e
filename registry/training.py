"""Training state beside the weights: optimizer, scheduler, counters. Keyed by name, and never pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from registry.checkpoints.weights import TensorSource
from registry.enclosure import Enclosure
from registry.errors.training import OptimizerMismatch, UnprovedOrder

SEPARATOR = "/"
"""Between the steps of a path in the training state; canonical names use dots."""

TENSOR = "@tensor"
"""The one key of what stands in the tree for a tensor that is stored beside it, under the path given."""


def flatten(state: Mapping[str, Any]) -> Enclosure:
    """Separate the tensors of a nested state from its plain values; tuples become lists."""
    tensors: dict[str, TensorSource] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {key: walk(item, f"{path}{SEPARATOR}{key}" if path else str(key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [walk(item, f"{path}{SEPARATOR}{i}") for i, item in enumerate(value)]
        if hasattr(value, "buffer") and hasattr(value, "spec"):
            tensors[path] = value
            return {TENSOR: path}
        return value

    values = walk(dict(state), "")
    return Enclosure(tensors, values)


def unflatten(values: Any, tensors: Mapping[str, Any]) -> Any:
    """Put the tensors back in their places."""
    if isinstance(values, Mapping):
        if values.keys() == {TENSOR}:
            return tensors[values[TENSOR]]
        return {key: unflatten(item, tensors) for key, item in values.items()}
    if isinstance(values, list):
        return [unflatten(item, tensors) for item in values]
    return values


def optimizer_by_name(
    state: Mapping[str, Any], names: Sequence[str], shapes: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Key a positional optimizer state dict by parameter name.

    Args:
        state: what ``Optimizer.state_dict()`` gives: ``state`` by position, ``param_groups`` with ``params``.
        names: canonical parameter names in the order in which the optimizer has them.
        shapes: of every parameter, by name.

    Raises:
        UnprovedOrder: the number of parameters, or the shape of a state tensor, speaks against this order.
    """
    positions = [position for group in state["param_groups"] for position in group["params"]]
    if len(positions) != len(names):
        raise UnprovedOrder(f"the optimizer has {len(positions)} parameters and the class {len(names)}")
    by_position = dict(zip(positions, names, strict=True))
    named: dict[str, Any] = {}
    for position, entry in state["state"].items():
        name = by_position.get(position)
        if name is None:
            raise UnprovedOrder(f"it has state at position {position}, which no parameter group names")
        for key, value in entry.items():
            shape = tuple(value.spec.shape) if hasattr(value, "spec") else ()
            if shape not in ((), (1,), tuple(shapes[name])):
                raise UnprovedOrder(f"'{key}' at position {position} has shape {shape}, '{name}' {tuple(shapes[name])}")
        named[name] = dict(entry)
    groups = [
        {**{k: v for k, v in group.items() if k != "params"}, "params": [by_position[p] for p in group["params"]]}
        for group in state["param_groups"]
    ]
    return {"state": named, "param_groups": groups}


def optimizer_by_position(named: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Turn a state keyed by name into what ``Optimizer.load_state_dict`` of this optimizer takes.

    Args:
        named: what ``optimizer_by_name`` gave.
        groups: for each parameter group of the optimizer at hand, its parameters' canonical names in order.

    Raises:
        OptimizerMismatch: the stored state is of other parameters or groups.
    """
    stored = {name for group in named["param_groups"] for name in group["params"]}
    wanted = [name for group in groups for name in group]
    if stored != set(wanted):
        raise OptimizerMismatch(sorted(set(wanted) - stored), sorted(stored - set(wanted)))
    if len(groups) != len(named["param_groups"]):
        raise OptimizerMismatch(
            [], [], f"{len(named['param_groups'])} parameter groups where this one has {len(groups)}"
        )
    position = {name: i for i, name in enumerate(wanted)}
    group_of = {name: group for group in named["param_groups"] for name in group["params"]}
    return {
        "state": {position[name]: dict(entry) for name, entry in named["state"].items()},
        "param_groups": [
            {
                **{k: v for k, v in (group_of[group[0]] if group else stored_group).items() if k != "params"},
                "params": [position[name] for name in group],
            }
            for group, stored_group in zip(groups, named["param_groups"], strict=True)
        ],
    }
