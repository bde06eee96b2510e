"""A nested state as it is stored: its plain values in one tree, its tensors beside it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from registry.canonical.values import Place, encode
from registry.checkpoints.weights import TensorSource
from registry.enclosure import Enclosure

SEPARATOR = "/"
"""Between the steps of a path in the training state; canonical names use dots."""

SourceOf = Callable[[Any, str], "TensorSource | None"]
"""Returns a value of a state as a tensor to store, or None if it is something else; called with its path, too."""


def flatten(state: Mapping[str, Any], source_of: SourceOf) -> Enclosure:
    """Separate the tensors of a nested state from its plain values.

    Raises:
        UnencodableValue: a value is no plain data; nothing was stored yet.
    """
    tensors: dict[str, TensorSource] = {}

    def walk(value: Any, path: str) -> Any:
        source = source_of(value, path)
        if source is not None:
            while path in tensors:  # the keys 1 and "1" have one text
                path += "'"
            tensors[path] = source
            return Place(path)
        if isinstance(value, Mapping):
            items = {key: walk(item, f"{path}{SEPARATOR}{key}") for key, item in value.items()}
            return OrderedDict(items) if isinstance(value, OrderedDict) else items
        if isinstance(value, (list, tuple)):
            parts = [walk(item, f"{path}{SEPARATOR}{i}") for i, item in enumerate(value)]
            if isinstance(value, list):
                return parts
            return value if all(new is old for new, old in zip(parts, value, strict=True)) else tuple(parts)
        return value

    values = {key: walk(item, key) for key, item in state.items()}
    for key, value in values.items():
        encode(value, key)
    return Enclosure(tensors, values)


def unflatten(value: Any, tensors: Mapping[str, Any]) -> Any:
    """Put the tensors back in their places."""
    if isinstance(value, Place):
        return tensors[value.name]
    if isinstance(value, OrderedDict):
        return OrderedDict((key, unflatten(item, tensors)) for key, item in value.items())
    if isinstance(value, Mapping):
        return {key: unflatten(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [unflatten(item, tensors) for item in value]
    if type(value) is tuple:
        return tuple(unflatten(item, tensors) for item in value)
    return value


def as_in(present: Any, stored: Any) -> Any:
    """Return a stored state with the kinds of dict that the object at hand has in those places.

    They are stored as plain ones, and ``MultiStepLR`` asks its milestones for what only a ``Counter`` can answer.
    """
    if isinstance(present, Mapping) and isinstance(stored, Mapping):
        items = {key: as_in(present.get(key), item) for key, item in stored.items()}
        if isinstance(present, Counter):
            return Counter(items)
        if isinstance(present, defaultdict):
            return defaultdict(present.default_factory, items)
        return OrderedDict(items) if isinstance(stored, OrderedDict) else items
    if isinstance(present, list) and isinstance(stored, list) and len(present) == len(stored):
        return [as_in(mine, theirs) for mine, theirs in zip(present, stored, strict=True)]
    return stored
