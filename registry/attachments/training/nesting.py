"""A nested state as it is stored: its plain values in one tree, its tensors beside it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from registry.attachments.attachment import Attachment
from registry.errors.checkpoints import UnencodableValue
from registry.tensors.encoding import encode_all
from registry.tensors.foreign import MOST_LEVELS, MOST_NODES, PARAMETER, TENSOR, TensorRef
from registry.tensors.inlined import as_written
from registry.tensors.source import TensorSource

SEPARATOR = "/"
"""Between the steps of a path in the training state; canonical names use dots."""

LONGEST_KEY = 1000
"""Characters; the path of each value inside repeats it."""

SourceOf = Callable[[Any, str], "TensorSource | None"]
"""Returns a value of a state as a tensor to store, or None if it is something else; called with its path, too."""


def flatten(state: Mapping[str, Any], source_of: SourceOf) -> Attachment:
    """Separate the tensors of a nested state from its plain values.

    Raises:
        UnencodableValue: a value is no plain data; nothing was stored yet.
    """
    tensors: dict[str, TensorSource] = {}
    left = MOST_NODES

    def walk(value: Any, path: str, levels: int = MOST_LEVELS) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or levels < 0:
            raise UnencodableValue(
                path, f"it is deeper than {MOST_LEVELS} levels or unfolds to over {MOST_NODES} parts"
            )
        source = source_of(value, path)
        if source is not None:
            while path in tensors:  # the keys 1 and "1" have one text
                path += "'"
            tensors[path] = source
            kind, needs_gradient = getattr(source, "kind", TENSOR), getattr(source, "requires_grad", False)
            if kind not in (TENSOR, PARAMETER):
                raise UnencodableValue(path, f"it is a {kind}, which would come back as a plain tensor")
            return TensorRef(path, kind == PARAMETER, needs_gradient)
        if isinstance(value, Mapping):
            if any(isinstance(key, str) and len(key) > LONGEST_KEY for key in value):
                raise UnencodableValue(path, f"it has a key of more than {LONGEST_KEY} characters")
            items = {key: walk(item, f"{path}{SEPARATOR}{key}", levels - 1) for key, item in value.items()}
            return OrderedDict(items) if isinstance(value, OrderedDict) else items
        if isinstance(value, (list, tuple)):
            parts = [walk(item, f"{path}{SEPARATOR}{i}", levels - 1) for i, item in enumerate(value)]
            if isinstance(value, list):
                return parts
            return value if all(new is old for new, old in zip(parts, value, strict=True)) else tuple(parts)
        return value

    values = {key: walk(item, key) for key, item in state.items()}
    encode_all(values, typed=True)
    return Attachment(tensors, values)


def unflatten(value: Any, tensors: Mapping[str, Any], written: Callable[[Any, bool, bool], Any] = as_written) -> Any:
    """Put the tensors back in their places.

    Args:
        written: makes of what stands for a tensor what it was, such as a parameter.
    """

    def tensor(part: Any) -> Any:
        if not isinstance(part, TensorRef):
            return part
        return written(tensors[part.name], part.is_parameter, part.requires_grad)

    return replaced(value, tensor)


def replaced(value: Any, by: Callable[[Any], Any]) -> Any:
    """Return a nested state in which ``by`` gives what stands in the place of each part that holds no others."""
    if isinstance(value, Mapping):
        items = ((key, replaced(item, by)) for key, item in value.items())
        return OrderedDict(items) if isinstance(value, OrderedDict) else dict(items)
    if isinstance(value, list):
        return [replaced(item, by) for item in value]
    return tuple(replaced(item, by) for item in value) if type(value) is tuple else by(value)


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
