"""A set of weights as it is stored: every tensor at a place of a file's value under its name, and what is refused."""

from __future__ import annotations

from typing import Any

from registry.canonical.form import is_extra_state
from registry.checkpoints.groups import KeyPath, is_plain_set, parts_of
from registry.checkpoints.inventory import bears_tensors, is_tensor, text_of
from registry.checkpoints.pickles.torch_vocabulary import Unstorable
from registry.checkpoints.settling import first_foreign
from registry.checkpoints.states import kind_of_state
from registry.checkpoints.tensors import FileTensor
from registry.checkpoints.weights import WeightSet
from registry.errors.checkpoints import ForeignObjects, OversizedCheckpoint, ShardedTensors, UnstorableTensor
from registry.errors.root import RegistryError
from registry.tensors.dtypes import ITEM_SIZES
from registry.tensors.source import TensorSource

MOST_NAMES = 2_000_000
"""Names of one set of weights; a value may refer to one dict many times over."""


def weight_set(place: KeyPath, value: Any, source: str) -> WeightSet:
    """Return all tensors at a place as one set: those of a state dict by their names, others by the way to them.

    States of a training inside of it are none of its values.
    """
    named = _named(value, source)
    tensors: dict[str, TensorSource] = {}
    values: dict[str, Any] = {}
    fault: RegistryError | None = None
    for name, item in named.items():
        if not is_tensor(item):
            values[name] = item
        elif isinstance(item, Unstorable):
            fault = fault or unstorable(item, source, name)
        elif item.spec.dtype not in ITEM_SIZES:
            fault = fault or UnstorableTensor(source, name, f"of dtype {item.spec.dtype}", _remedy(item.spec.dtype))
        else:
            tensors[name] = item
    among = first_foreign(values.items(), source)
    if among:
        fault = fault or ForeignObjects(source, [among[1].name], f"'{among[0]}' among the weights")
    unstored = sum(map(is_tensor, named.values())) - len(tensors)
    return WeightSet("/".join(place), tensors, values, _metadata(value), fault=fault, unstored=unstored)


def _named(value: Any, source: str) -> dict[str, Any]:
    """Return the tensors and plain values of a state dict; of a value with sets inside, all tensors by the way to them.

    Raises:
        OversizedCheckpoint: it refers to its parts so often that it unfolds to more than any model has.
    """
    named: dict[str, Any] = {}

    def collect(value: Any, prefix: str, above: tuple[int, ...]) -> None:
        if len(named) > MOST_NAMES:
            raise OversizedCheckpoint(source, f"it unfolds to more than {MOST_NAMES} names")
        plain = is_plain_set(value)
        for key, item in parts_of(value):
            name = f"{prefix}{text_of(key)}"
            while name in named:  # the keys 1 and "1" have one text
                name += "'"
            if is_tensor(item) or is_extra_state(name):
                named[name] = item
            elif kind_of_state(item) or id(item) in above:
                continue
            elif plain:
                named[name] = item
            elif bears_tensors(item):
                collect(item, f"{name}.", (*above, id(item)))

    if is_tensor(value):
        named["tensor"] = value
    collect(value, "", (id(value),))
    return named


def unstorable(item: Unstorable, source: str, name: str) -> UnstorableTensor | ShardedTensors:
    """Word the refusal of one tensor."""
    if item.is_sharded:
        return ShardedTensors(source, name, item.kind)
    return UnstorableTensor(source, name, item.kind, item.remedy)


def _remedy(dtype: str) -> str:
    if dtype == "complex128":
        return "save it as complex64 with .to(torch.complex64), or as two float64 with torch.view_as_real"
    if dtype == "complex32":
        return "save it as complex64 with .to(torch.complex64)"
    return "convert it to a dtype that safetensors has, or call .dequantize() on it, before saving"


def _metadata(found: Any) -> dict[str, dict[str, Any]] | None:
    raw = getattr(found, "_metadata", None)
    if not isinstance(raw, dict):
        return None
    return {path: dict(facts) for path, facts in raw.items() if isinstance(path, str) and isinstance(facts, dict)}


def overlap_note(weights: WeightSet) -> str:
    """Return a sentence for tensors that share memory without being one tensor, or nothing."""
    by_storage: dict[int, list[tuple[str, FileTensor]]] = {}
    for name, tensor in weights.tensors.items():
        if isinstance(tensor, FileTensor) and tensor.end > tensor.start:
            by_storage.setdefault(id(tensor.storage), []).append((name, tensor))
    overlaps: list[tuple[str, str]] = []
    for neighbors in by_storage.values():
        reach, identity, first = 0, None, ""
        for name, tensor in sorted(neighbors, key=lambda pair: (pair[1].start, pair[1].end)):
            if tensor.start < reach and tensor.identity != identity:
                overlaps.append((first, name))
            if tensor.end > reach:
                reach, identity, first = tensor.end, tensor.identity, name
    if not overlaps:
        return ""
    (one, other), more = overlaps[0], len(overlaps) - 1
    also = f", and {more} more pairs" if more else ""
    return f"'{one}' and '{other}' overlap in memory without being one tensor{also}: each is stored by value"
