"""The states that belong to a training, known by what torch writes into them and never by the key they stand under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

Kind = Literal["optimizer", "scheduler", "scaler"]

_OF_SCHEDULERS = ("_step_count", "_last_lr", "base_lrs", "num_bad_epochs")
_OF_SCALERS = ("scale", "growth_factor", "backoff_factor", "growth_interval")


def kind_of_state(value: Any) -> Kind | None:
    """Return what a value is the state of: an optimizer, a learning rate scheduler or a gradient scaler."""
    if not isinstance(value, Mapping):
        return None
    if is_optimizer(value):
        return "optimizer"
    if ("last_epoch" in value and any(key in value for key in _OF_SCHEDULERS)) or (
        isinstance(value.get("_schedulers"), (list, tuple)) and "_last_lr" in value
    ):
        return "scheduler"
    return "scaler" if all(key in value for key in _OF_SCALERS) else None


def is_optimizer(value: Any) -> bool:
    """Return whether a value is what ``Optimizer.state_dict()`` gives: ``state``, and ``param_groups`` of parameters.

    A distributed checkpoint gives a list back as a dict with its numbers as keys.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("state"), Mapping):
        return False
    groups = value.get("param_groups")
    listed = list(groups.values()) if isinstance(groups, Mapping) else groups
    return isinstance(listed, (list, tuple)) and all(
        isinstance(group, Mapping) and "params" in group for group in listed
    )


def states_in(value: Any) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
    """Yield the states in a value, at any depth, through dicts, lists and tuples; each object once."""
    seen: set[int] = set()
    left: list[Any] = [value]
    while left:
        item = left.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            kind = kind_of_state(item)
            if kind is not None:
                yield kind, item
            else:
                left.extend(reversed(list(item.values())))
        elif isinstance(item, (list, tuple)):
            left.extend(reversed(item))
