"""Which parts of a file's value are weights, which belong to the training, which say how the model was built.

Pure: from inert values to inert values. Recognized by structure at any depth, through dicts, lists and tuples; names
only order what was found.

A *set of weights* is a dict in which every entry is a tensor under a name, as in a state dict. Tensors of several
fractions can be weights; counters, losses and random states cannot. Where one set is found it is meant, and everything
else that bears tensors is named (see ``inventory``). Several sets, or tensors that lie loose around a set, are the
user's to decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.canonical.form import EXTRA_STATE
from registry.checkpoints.arrays import array_sets, is_weight
from registry.checkpoints.assembled import TENSORS
from registry.checkpoints.inventory import bears_tensors, is_tensor
from registry.checkpoints.pickles.torch_vocabulary import Unstorable
from registry.checkpoints.settling import Settled, first_foreign, settle
from registry.checkpoints.states import kind_of_state
from registry.checkpoints.tensors import FileTensor
from registry.checkpoints.weights import WeightSet
from registry.errors.canonical import some
from registry.errors.checkpoints import (
    ArraysOfNumpy,
    EmptyCheckpoint,
    ForeignObjects,
    OversizedCheckpoint,
    PickledModule,
    ShardedTensors,
    UnstorableTensor,
    ZeroShards,
)
from registry.errors.root import RegistryError
from registry.tensors.dtypes import ALL_ITEM_SIZES, ITEM_SIZES
from registry.tensors.foreign import Array, Foreign
from registry.tensors.source import TensorSource

LIKELIEST = (
    "",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "model/state_dict",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "generator",
)
_AVERAGED = re.compile(r"(^|[/_.])(ema|swa|averaged?|shadow|polyak|teacher)([/_.]|$|\d)", re.IGNORECASE)
_INIT_KEYS = ("hyper_parameters", "model_args", "model_kwargs", "init_args", "hparams")
_COUNTERS = ("epoch", "step", "global_step", "iteration", "iter", "steps", "world_size")
_FRAMEWORKS = {
    "pytorch-lightning_version": "lightning",
    "dp_world_size": "deepspeed",
    "ds_version": "deepspeed",
    "mmengine_version": "mmengine",
}

MOST_NAMES = 2_000_000
"""Names of one set of weights; a value may refer to one dict many times over."""

MOST_EXPANSION = 16
"""Bytes of tensors for a byte of the file: expanded tensors are stored by value, and may claim to be terabytes."""
SMALL = 256 << 20
"""Bytes that any file may claim."""


@dataclass(frozen=True)
class Contents:
    """What a file's value consists of."""

    value: Any
    """All of it, settled."""
    weight_sets: tuple[WeightSet, ...]
    training: Mapping[str, Any]
    init: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def sort_contents(value: Any, source: str, nbytes: int | None) -> Contents:
    """Sort the value of a file of ``nbytes`` bytes, or of memory, into weights, training state and facts.

    Raises:
        EmptyCheckpoint, PickledModule, ForeignObjects: no weights can be read.
        UnstorableTensor, ShardedTensors, ZeroShards: weights of a kind that cannot be stored, or a part of them.
        OversizedCheckpoint: expanded tensors out of proportion to the file.
    """
    settled = settle(value, source, nbytes)
    if nbytes is not None:
        _refuse_expansion(settled, source, nbytes)
    root = settled.value
    found = find_sets(root)
    above = _above(found)
    found.sort(key=lambda group: (group.place in above, _rank(group)))
    if not found:
        raise _nothing(root, settled, source, in_memory=nbytes is None)
    sets = tuple(weight_set(group.place, group.value, source) for group in found)
    if len(sets) == 1 and sets[0].fault is not None:
        raise sets[0].fault
    _refuse_parts(root, sets, source)
    notes = list(dict.fromkeys(note for weights in sets if (note := _overlap_note(weights))))
    notes += filter(None, map(_arrays_note, found))
    foreign = sorted({item.name for item in settled.foreign})
    if foreign:
        notes.append(f"objects that only running code could rebuild were not read: {', '.join(foreign[:6])}")
    sets = (*sets, *_arrays(root, found, source))
    places = [group.place for group in found]
    init = next((dict(arguments) for arguments in _init(root, places) if arguments), {})
    apart = [group.place for group in found if group.place not in above]
    return Contents(root, sets, _without(root, apart), init, _facts(root), tuple(notes))


def _arrays_note(group: Group) -> str:
    """Return a sentence on arrays that bear more than the tensors they stand among, or nothing."""
    arrays = [name for name, item in group.value.items() if is_weight(item)]
    if sum(group.value[name].spec.numel for name in arrays) <= group.elements:
        return ""
    return (
        f"{some(arrays)} {'is an array' if len(arrays) == 1 else 'are arrays'} of numpy and kept as values, not as "
        "weights; make them tensors with torch.as_tensor if a class is to load them"
    )


def _arrays(root: Any, found: Sequence[Group], source: str) -> Iterator[WeightSet]:
    """Yield the sets of numpy's arrays that bear more than a set of tensors: nothing says which is the model."""
    places = {group.place for group in found}
    loose = not any(group.is_state_dict for group in found)
    for group in array_sets(root, min(group.elements for group in found), loose=loose):
        if group.place in places:
            continue
        fault = ArraysOfNumpy(source, group.place, group.arrays)
        yield WeightSet("/".join(group.place), {}, {}, None, fault=fault, unstored=group.arrays)


KeyPath = tuple[str, ...]
"""The keys that lead from the root to a state dict; numbers in a list."""


@dataclass(frozen=True, eq=False)
class Group:
    """Tensors that stand under names in one dict."""

    place: KeyPath
    value: dict[str, Any]

    @property
    def can_be_weights(self) -> bool:
        """Whether one of its tensors can be a weight: it has more than one number, and fractions or an own kind."""
        return any(_can_be_weight(item) for item in self.value.values() if is_tensor(item))

    @property
    def elements(self) -> int:
        """The number of numbers in its tensors."""
        tensors = (item for item in self.value.values() if is_tensor(item) and not isinstance(item, Unstorable))
        return sum(tensor.spec.numel for tensor in tensors)

    @property
    def is_state_dict(self) -> bool:
        """Whether it has the shape of one: torch's own mark, a name of several components, or nothing but tensors."""
        if isinstance(getattr(self.value, "_metadata", None), dict):
            return True
        tensors = [name for name, item in self.value.items() if is_tensor(item)]
        if any("." in name.strip(".") for name in tensors):
            return True
        return len(tensors) + sum(map(is_extra_state, self.value)) == len(self.value)


def find_sets(root: Any) -> list[Group]:
    """Return what may be meant as the weights of a value.

    State dicts; and what lies loose around one, since nothing says whether it belongs to it. Loose tensors elsewhere,
    as among hyperparameters, are weights only where there is nothing better.
    """
    groups = list(_groups(root, (), set()))
    weights = [group for group in groups if group.can_be_weights]
    sets = [group for group in weights if group.is_state_dict]
    inside = _above(sets)
    around = [group for group in weights if not group.is_state_dict and group.place in inside]
    return [*sets, *around] or weights or groups


def _above(groups: Iterable[Group]) -> set[KeyPath]:
    """Return the places inside of which some groups lie."""
    return {group.place[:length] for group in groups for length in range(len(group.place))}


def is_extra_state(name: str) -> bool:
    """Return whether a name is the one under which torch keeps a module's extra state, which may be any value."""
    return name.rpartition(".")[2] == EXTRA_STATE


def _can_be_weight(tensor: Any) -> bool:
    if isinstance(tensor, Unstorable):
        return True
    return tensor.spec.numel > 1 and not tensor.spec.dtype.startswith(("int", "uint", "bool"))


def _groups(value: Any, place: KeyPath, seen: set[int]) -> Iterator[Group]:
    """Yield the groups in a value, each once: dicts that refer to each other thousandfold are searched once."""
    if not isinstance(value, (dict, list, tuple)) or id(value) in seen:
        return
    seen.add(id(value))
    kind = kind_of_state(value)
    if kind is not None and kind != "optimizer":
        return
    if kind == "optimizer" and isinstance(value, dict):  # somebody may have put the weights into its dict
        value = {key: item for key, item in value.items() if key not in ("state", "param_groups")}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value) and any(map(is_tensor, value.values())):
        yield Group(place, value)
    for key, item in parts_of(value):
        if not is_extra_state(str(key)):
            yield from _groups(item, (*place, str(key)), seen)


def _rank(group: Group) -> tuple[bool, int, int]:
    key = "/".join(group.place)
    likeliness = LIKELIEST.index(key) if key in LIKELIEST else len(LIKELIEST)
    return bool(_AVERAGED.search(key)), likeliness, -sum(map(is_tensor, group.value.values()))


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
            name = f"{prefix}{key}"
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


def is_plain_set(value: Any) -> bool:
    """Whether a value is a dict with tensors of its own and no sets of weights inside."""
    if not isinstance(value, dict) or not any(map(is_tensor, value.values())):
        return False
    inside = (group for group in _groups(value, (), set()) if group.value is not value)
    return not any(group.can_be_weights for group in inside)


def parts_of(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the parts of a dict, list or tuple with their keys; nothing else is searched for weights."""
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, (list, tuple)) else ()


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


def _overlap_note(weights: WeightSet) -> str:
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


def _refuse_expansion(settled: Settled, source: str, nbytes: int) -> None:
    distinct = {tensor.identity: tensor for tensor in settled.tensors}
    claimed = sum(max(_stored_for(tensor), _read_for(tensor)) for tensor in distinct.values())
    if claimed > MOST_EXPANSION * nbytes + SMALL:
        raise OversizedCheckpoint(source, f"its tensors claim {claimed} bytes in a file of {nbytes}")


def _stored_for(tensor: TensorSource) -> int:
    return tensor.spec.numel * ALL_ITEM_SIZES.get(tensor.spec.dtype, 1)


def _read_for(tensor: TensorSource) -> int:
    """Return the bytes that are read to gather a tensor: of two elements at both ends of a storage, all of it."""
    return tensor.end - tensor.start if isinstance(tensor, FileTensor) else 0


def _refuse_parts(root: Any, sets: Sequence[WeightSet], source: str) -> None:
    """Refuse what DeepSpeed writes of one rank where the weights are spread over several."""
    if not isinstance(root, dict) or not {"module", "dp_world_size", "mp_world_size", "ds_version"} & set(root):
        return
    parallel = root.get("mp_world_size")
    if type(parallel) is int and parallel > 1:
        raise ZeroShards(source, f"{parallel}-way tensor-parallel")
    module = next((weights for weights in sets if weights.key == "module"), None)
    if module and "param_shapes" in root and all(tensor.spec.numel == 0 for tensor in module.tensors.values()):
        raise ZeroShards(source, "ZeRO-3")


def _nothing(root: Any, settled: Settled, source: str, in_memory: bool) -> Exception:
    """Return the error that says what is in a file without weights."""
    for place, item in _objects(root, (), set()):
        if _is_module(item) and in_memory:
            where = "/".join(map(str, place))
            return EmptyCheckpoint(source, f"a live module ({item.name}) under '{where}'", "push that module itself")
        if _is_module(item):
            return PickledModule(source, item.name, place)
    names = sorted({item.name for item in settled.foreign})
    if names:
        return ForeignObjects(source, names, "")
    arrays = next(_dicts_of_arrays(root, (), set()), None)
    if arrays is not None:
        return ArraysOfNumpy(source, *arrays)
    if isinstance(root, TENSORS):
        return EmptyCheckpoint(source, "one tensor without a name")
    if isinstance(root, Unstorable):
        return unstorable(root, source, "")
    kind = kind_of_state(root)
    if kind is not None:
        return EmptyCheckpoint(source, f"the state of the {kind}", "push the file that has the model's weights")
    if isinstance(root, (list, tuple)):
        return EmptyCheckpoint(source, f"a list of {len(root)} things")
    if isinstance(root, dict):
        keys = ", ".join(repr(str(key))[:40] for key in list(root)[:6])
        return EmptyCheckpoint(source, f"a dict with the keys {keys}" if root else "an empty dict")
    return EmptyCheckpoint(source, f"a value of type {type(root).__name__}")


def _objects(value: Any, place: tuple[Any, ...], seen: set[int]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield everything in a value that is no container, with the keys that lead there."""
    if id(value) in seen:
        return
    if not isinstance(value, (dict, list, tuple)):
        yield place, value
        return
    seen.add(id(value))
    for key, item in parts_of(value):
        yield from _objects(item, (*place, key), seen)


def _dicts_of_arrays(value: Any, place: tuple[Any, ...], seen: set[int]) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Yield the dicts that hold arrays of numpy under names, with the number of arrays."""
    if not isinstance(value, (dict, list, tuple)) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        count = sum(isinstance(item, Array) for item in value.values())
        if count:
            yield place, count
    for key, item in parts_of(value):
        yield from _dicts_of_arrays(item, (*place, key), seen)


def _is_module(value: Any) -> bool:
    """Return whether a foreign object has the state of a ``torch.nn.Module``."""
    return isinstance(value, Foreign) and isinstance(value.state, dict) and "_parameters" in value.state


def _init(root: Any, places: list[KeyPath]) -> Iterator[Mapping[str, Any]]:
    """Yield the init arguments that stand beside the weights, then those at the root."""
    for parent in {**dict.fromkeys(place[:-1] for place in places if place), (): None}:
        level = root
        for step in parent:
            level = next(item for key, item in parts_of(level) if str(key) == step)
        for key in _INIT_KEYS if () not in places and isinstance(level, dict) else ():
            arguments = level.get(key)
            if isinstance(arguments, dict) and all(isinstance(name, str) for name in arguments):
                yield arguments


def _facts(root: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if not isinstance(root, dict):
        return facts
    for key in _COUNTERS:
        if type(root.get(key)) is int:
            facts[key] = root[key]
    for key, framework in _FRAMEWORKS.items():
        if key in root:
            facts["framework"] = framework
    if type(root.get("dp_world_size")) is int:
        facts["world_size"] = root["dp_world_size"]
    return facts


def _without(value: Any, places: Sequence[KeyPath]) -> dict[str, Any]:
    """Return what a value holds beside the state dicts at some places; beside one at its root, states of a training.

    Parts of a list are keyed by their numbers.
    """
    inside: dict[str, list[KeyPath]] = {}
    for place in places:
        if not place:
            return {str(key): item for key, item in parts_of(value) if kind_of_state(item)}
        inside.setdefault(place[0], []).append(place[1:])
    rest: dict[str, Any] = {}
    for key, item in parts_of(value):
        kept = _without(item, inside[str(key)]) if str(key) in inside else item
        if kept or str(key) not in inside:
            rest[str(key)] = kept
    return rest
