"""Which tensors of a checkpoint a text such as ``model``, ``state.ema.model`` or ``heads.0`` means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.checkpoints.arrays import as_tensors
from registry.checkpoints.groups import KeyPath, is_extra_state, parts_of
from registry.checkpoints.inventory import is_tensor, text_of
from registry.checkpoints.sets import weight_set
from registry.checkpoints.weights import Checkpoint, WeightSet

ROOT = "."
"""Means all that the file holds."""


def sets_called(checkpoint: Checkpoint, text: str) -> list[WeightSet]:
    """Return the sets of weights that a text may mean; one of them is a choice, none and several are not.

    Steps are separated by ``.`` or ``/``, numbers lead into lists, and the last steps may be the first components of
    names in a state dict. A text that fits nothing from the root may be the last step of one set that was found.
    """
    exact = [found for found in checkpoint.weight_sets if found.key == text]
    if not exact:  # an average has no place of its own, and is called as any other
        exact = [f for f in checkpoint.weight_sets if f.inside is not None and f.key.replace("/", ".") == text]
    if exact or checkpoint.contents is None:
        return exact
    contents = checkpoint.contents
    found: dict[KeyPath, Any] = dict(_places(contents, text, ())) if text != ROOT else {(): contents}
    if not found:
        for path, value in checkpoint.beside.items():
            if text == path:
                found[path,] = value
            elif text.startswith((f"{path}.", f"{path}/")):
                found.update(_places(value, text[len(path) + 1 :], (path,)))
    known = {known.key: known for known in checkpoint.weight_sets}
    sets = [known.get("/".join(place)) or _set(place, value, checkpoint.source) for place, value in found.items()]
    # What holds the state of an optimizer and nothing else has tensors, and no weights.
    chosen = [found for found in sets if found.count]
    return chosen or [known for known in checkpoint.weight_sets if known.key.rpartition("/")[2] == text]


def _set(place: KeyPath, value: Any, source: str) -> WeightSet:
    """Return the tensors at a place, or the arrays where there are no tensors."""
    found = weight_set(place, value, source)
    return found if found.count else weight_set(place, as_tensors(value), source)


def _places(value: Any, text: str, place: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the parts of a value that a text leads to."""
    for key, item in parts_of(value):
        name = text_of(key)
        if text == name:
            yield (*place, name), {name: item} if is_tensor(item) else item
        elif text.startswith((f"{name}.", f"{name}/")):
            yield from _places(item, text[len(name) + 1 :], (*place, name))
    if isinstance(value, dict):
        prefix = f"{text.replace('/', '.')}."
        named = {key[len(prefix) :]: item for key, item in value.items() if text_of(key).startswith(prefix)}
        if any(is_tensor(item) or is_extra_state(key) for key, item in named.items()):
            yield (*place, text), named
