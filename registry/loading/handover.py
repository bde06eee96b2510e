"""A version's training state as other programs take it: without the objects of the job that it was the state of."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from registry.attachments.attachment import OWN
from registry.attachments.training.nesting import unflatten
from registry.attachments.training.optimizer import by_position
from registry.canonical.unwrap import Unwrapping
from registry.catalog.entry import Entry
from registry.home.home import Home


@dataclass(frozen=True)
class TrainingState:
    """What a job was in when it pushed a version."""

    entry: Entry
    parts: Mapping[str, Any]
    """``"scheduler"``, ``"scaler"``, ``"step"``, ``"epoch"``, ``"rng"``, those that there are."""
    optimizer: dict[str, Any] | None
    """As ``Optimizer.load_state_dict`` takes it, with the parameters in the order in which the job had them."""
    own: Mapping[str, Any]
    """The states that were pushed under other names."""


def training_state(home: Home, ref: str) -> TrainingState:
    """Read a version's training state, every byte of it checked.

    Raises:
        RegistryError: there is no such version, or its bytes are not what was stored.
    """
    entry = home.resolve(ref)
    stored = home.attachment(entry, "training")
    state = {key: unflatten(value, stored.tensors) for key, value in stored.values.items()} if stored else {}
    named = state.pop("optimizer", None)
    own = {key.removeprefix(OWN): value for key, value in state.items() if key.startswith(OWN)}
    parts = {key: with_counters(value) for key, value in state.items() if not key.startswith(OWN)}
    return TrainingState(entry, parts, _positional(named) if named is not None else None, own)


def _positional(named: Mapping[str, Any]) -> dict[str, Any]:
    groups = named["param_groups"]
    return by_position(named, [group["params"] for group in groups], groups)


def with_counters(value: Any) -> Any:
    """Return a scheduler's state with the one kind of dict that torch's own need, which is stored as a plain one."""
    if isinstance(value, Mapping):
        items = {key: with_counters(item) for key, item in value.items()}
        if isinstance(items.get("milestones"), dict):
            items["milestones"] = Counter(items["milestones"])
        return OrderedDict(items) if isinstance(value, OrderedDict) else items
    if isinstance(value, list):
        return [with_counters(item) for item in value]
    return value


def inside(unwrapping: Unwrapping) -> Unwrapping:
    """Return the cuts below the model, without those of what surrounds it, as its own ``state_dict`` has them."""
    root: tuple[str, ...] = ()
    for cut in unwrapping.cuts:
        if cut.components[:-1] == root:
            root = cut.components
    below = (cut for cut in unwrapping.cuts if len(cut.components) > len(root) and cut.components[: len(root)] == root)
    return Unwrapping(tuple(replace(cut, path=".".join(cut.components[len(root) :])) for cut in below))
