"""Optimizer states, which torch keys by position: by parameter name, and back for an optimizer at hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from registry.errors.training import OptimizerMismatch, UnprovedOrder
from registry.tensors.paths import below

_EXECUTION = ("foreach", "fused", "capturable", "differentiable")
"""How a step is computed and not what: a matter of the machine, so the optimizer at hand keeps its own."""

_ADDED_BY_TORCH = (*_EXECUTION, "maximize", "decoupled_weight_decay", "param_names", "params")
"""What torch fills in by itself when it loads a state of an older release."""


def by_name(state: Mapping[str, Any], names: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Key a positional optimizer state dict by parameter name.

    Args:
        state: what ``Optimizer.state_dict()`` gives: ``state`` by position, ``param_groups`` with ``params``.
        names: canonical parameter names in the order in which the optimizer has them.
        shapes: of every parameter, by name.

    Raises:
        UnprovedOrder: there are more or fewer parameters.
    """
    positions = [position for group in state["param_groups"] for position in group["params"]]
    if len(positions) != len(names):
        raise UnprovedOrder(f"the optimizer has {len(positions)} parameters and the class {len(names)}")
    at = dict(zip(positions, names, strict=True))
    stray = next((position for position in state["state"] if position not in at), None)
    if stray is not None:
        raise UnprovedOrder(f"it has state at position {stray}, which no parameter group names")
    named = {at[position]: dict(entry) for position, entry in state["state"].items()}
    groups = [
        {**_options(group, ("params", "param_names")), "params": [at[position] for position in group["params"]]}
        for group in state["param_groups"]
    ]
    return {"state": named, "param_groups": groups, "ordered": _is_one_vector(named, names, shapes)}


def check_shapes(named: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse a state whose tensors have not the shapes of the parameters that it is said to be of.

    Raises:
        UnprovedOrder: naming the first.
    """
    for name, entry in named["state"].items():
        for key, value in entry.items():
            shape = _shape(value)
            if shape not in (None, (), (1,), tuple(shapes[name])):
                raise UnprovedOrder(f"'{key}' of '{name}' would have shape {shape} and not {tuple(shapes[name])}")


def by_position(
    named: Mapping[str, Any], groups: Sequence[Sequence[str]], present: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Turn a state keyed by name into what ``Optimizer.load_state_dict`` of an optimizer at hand takes.

    Args:
        named: what ``by_name`` gave.
        groups: for each parameter group of the optimizer at hand, its parameters' canonical names in order.
        present: its parameter groups.

    Raises:
        OptimizerMismatch: the stored state is of other parameters, groups or another kind of optimizer.
    """
    stored = {name for group in named["param_groups"] for name in group["params"]}
    wanted = [name for group in groups for name in group]
    if stored != set(wanted):
        raise OptimizerMismatch(sorted(set(wanted) - stored), sorted(stored - set(wanted)))
    if named["ordered"] and wanted != [name for group in named["param_groups"] for name in group["params"]]:
        raise OptimizerMismatch([], [], "it is one vector over all parameters, which here are in another order")
    position = {name: i for i, name in enumerate(wanted)}
    return {
        "state": {position[name]: dict(entry) for name, entry in named["state"].items()},
        "param_groups": [
            {**_fitting(source, own), "params": [position[name] for name in names]}
            for names, own, source in zip(groups, present, _sources(named, groups), strict=True)
        ],
    }


def of_part(named: Mapping[str, Any], part: str, ties: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Return the state of one part's parameters alone, by their names in the part; groups without any are left out.

    Args:
        ties: of the whole: what is shared with another part may go by its name there.

    Raises:
        OptimizerMismatch: the state is one vector over the parameters of all parts.
    """
    stored = [name for group in named["param_groups"] for name in group["params"]]
    inside = below(part, stored)
    for tie in ties:
        if own := below(part, tie):
            inside.update(dict.fromkeys(tie, next(iter(own.values()))))
    groups = [
        {**group, "params": [inside[name] for name in group["params"] if name in inside]}
        for group in named["param_groups"]
    ]
    if named["ordered"] and any(name not in inside for name in stored):
        raise OptimizerMismatch([], [], f"it is one vector over the parameters of all parts, not of '{part}' alone")
    return {
        "state": {inside[name]: entry for name, entry in named["state"].items() if name in inside},
        "param_groups": [group for group in groups if group["params"]],
        "ordered": named["ordered"],
    }


def _sources(named: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> list[Mapping[str, Any]]:
    """Return for each group at hand the stored group of exactly the same parameters."""
    left = list(named["param_groups"])
    if len(left) != len(groups):
        raise OptimizerMismatch([], [], f"it has {len(left)} parameter groups and this one {len(groups)}")
    found = []
    for names in groups:
        source = next((group for group in left if set(group["params"]) == set(names)), None)
        if source is None:
            raise OptimizerMismatch(
                [], [], f"its parameter groups divide the parameters otherwise, as with '{names[0]}'"
            )
        left.remove(source)
        found.append(source)
    return found


def _fitting(stored: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    lacking = [key for key in own if key not in stored and key not in (*_ADDED_BY_TORCH, "initial_lr")]
    if lacking:
        raise OptimizerMismatch([], [], f"it is of another kind of optimizer, without '{lacking[0]}'")
    kept = {key: own[key] for key in (*_EXECUTION, "param_names") if key in own}
    return {**_options(stored, _EXECUTION), **kept}


def _options(group: Mapping[str, Any], without: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in without}


def _is_one_vector(named: Mapping[str, Any], names: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether the state runs through all parameters as one flat vector, as that of LBFGS does."""
    whole = (sum(math.prod(shapes[name]) for name in names),)
    return any(
        _shape(value) == whole != tuple(shapes[name]) for name, entry in named.items() for value in entry.values()
    )


def _shape(value: Any) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None) if not hasattr(value, "spec") else value.spec.shape
    return tuple(shape) if shape is not None else None
