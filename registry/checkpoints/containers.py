"""Which parts of a file's value are weights, which belong to the training, which say how the model was built.

Pure: from inert values to inert values. Recognised by structure; names only order what was found and set aside what
has the structure of weights without being any (optimizer and random states).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.canonical.signature import ITEM_SIZES
from registry.canonical.values import Foreign
from registry.checkpoints.assembled import TENSORS
from registry.checkpoints.settling import Settled, first_foreign, settle
from registry.checkpoints.tensors import ALL_ITEM_SIZES, FileTensor
from registry.checkpoints.torch_vocabulary import Unstorable
from registry.checkpoints.weights import TensorSource, WeightSet
from registry.errors.checkpoints import (
    EmptyCheckpoint,
    ForeignObjects,
    OversizedCheckpoint,
    PickledModule,
    ShardedTensors,
    UnstorableTensor,
    ZeroShards,
)

DEEPEST = 3
"""Levels of containers that are searched for weights: ``checkpoint["app"]["model"]["state_dict"]``."""

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
_NOT_WEIGHTS = re.compile(
    r"optim|sched|scaler|rng|random|callback|loops?$|hyper|hparam|config|cfg|^args$|metric|history|criterion|"
    r"sampler|message_hub|^logs?$|^amp$|^loss|meter|dataloader|dataset|^meta$|_extra_state$",
    re.IGNORECASE,
)
_INIT_KEYS = ("hyper_parameters", "model_args", "model_kwargs", "init_args", "hparams")
_COUNTERS = ("epoch", "step", "global_step", "iteration", "iter", "steps", "world_size")
_FRAMEWORKS = {
    "pytorch-lightning_version": "lightning",
    "dp_world_size": "deepspeed",
    "ds_version": "deepspeed",
    "mmengine_version": "mmengine",
}

MOST_EXPANSION = 16
"""Bytes of tensors for a byte of the file: expanded tensors are stored by value, and may claim to be terabytes."""
SMALL = 256 << 20
"""Bytes that any file may claim."""


@dataclass(frozen=True)
class Contents:
    """What a file's value consists of."""

    weight_sets: tuple[WeightSet, ...]
    training: Mapping[str, Any]
    init: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def examine(value: Any, source: str, nbytes: int) -> Contents:
    """Sort the value of a file of ``nbytes`` bytes into weights, training state and facts.

    Raises:
        EmptyCheckpoint, PickledModule, ForeignObjects: no weights can be read.
        UnstorableTensor, ShardedTensors, ZeroShards: weights of a kind that cannot be stored, or a part of them.
        OversizedCheckpoint: expanded tensors out of proportion to the file.
    """
    settled = settle(value, source, nbytes)
    _refuse_expansion(settled, source, nbytes)
    root = settled.value
    found = sorted(_find(root, (), DEEPEST, set()), key=lambda pair: _rank(*pair))
    if not found:
        raise _nothing(root, settled, source)
    places = [place for place, _ in found]
    sets = tuple(_weight_set("/".join(place), weights, source) for place, weights in found)
    among = first_foreign(((name, value) for weights in sets for name, value in weights.values.items()), source)
    if among:
        raise ForeignObjects(source, [among[1].name], f"'{among[0]}' among the weights")
    _refuse_parts(root, sets, source)
    notes = [note for weights in sets if (note := _overlap_note(weights))]
    foreign = sorted({item.name for item in settled.foreign})
    if foreign:
        notes.append(f"objects that only running code could rebuild were not read: {', '.join(foreign[:6])}")
    init = next((dict(arguments) for arguments in _init(root, places) if arguments), {})
    return Contents(sets, _without(root, places), init, _facts(root), tuple(notes))


Place = tuple[str, ...]
"""The keys that lead from the root to a state dict."""


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (*TENSORS, Unstorable))


def _tensor_count(value: Any) -> int:
    """Return how many tensors stand in a dict itself, under names."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return 0
    return sum(_is_tensor(item) for item in value.values())


def _find(value: Any, place: Place, levels: int, seen: set[int]) -> list[tuple[Place, dict[str, Any]]]:
    """Return the state dicts in a value, each once: dicts that refer to each other thousandfold are searched once."""
    if not isinstance(value, dict) or id(value) in seen or ("param_groups" in value and "state" in value):
        return []
    seen.add(id(value))
    inner: list[tuple[Place, dict[str, Any]]] = []
    if levels:
        for name, item in value.items():
            if isinstance(name, str) and isinstance(item, dict) and not _NOT_WEIGHTS.search(name):
                inner.extend(_find(item, (*place, name), levels - 1, seen))
    own = _tensor_count(value)
    # A container may hold a lone tensor beside its state dict (the best accuracy), and a state dict may hold a
    # dict of tensors beside its own (an extra state): the one with more tensors is meant.
    largest = max((_tensor_count(found) for _, found in inner), default=0)
    if own and own >= largest and (own >= len(value) - own or not inner):
        return [(place, value)]
    return inner


def _rank(place: Place, found: dict[str, Any]) -> tuple[bool, int, int]:
    key = "/".join(place)
    likeliness = LIKELIEST.index(key) if key in LIKELIEST else len(LIKELIEST)
    return bool(_AVERAGED.search(key)), likeliness, -_tensor_count(found)


def _weight_set(key: str, found: dict[str, Any], source: str) -> WeightSet:
    tensors: dict[str, TensorSource] = {}
    values: dict[str, Any] = {}
    for name, item in found.items():
        if isinstance(item, Unstorable):
            raise unstorable(item, source, name)
        if not isinstance(item, TENSORS):
            values[name] = item
            continue
        if item.spec.dtype not in ITEM_SIZES:
            raise UnstorableTensor(source, name, f"of dtype {item.spec.dtype}", _remedy(item.spec.dtype))
        tensors[name] = item
    return WeightSet(key, tensors, values, _metadata(found))


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


def _metadata(found: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
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
    for neighbours in by_storage.values():
        reach, identity, first = 0, None, ""
        for name, tensor in sorted(neighbours, key=lambda pair: (pair[1].start, pair[1].end)):
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


def _nothing(root: Any, settled: Settled, source: str) -> Exception:
    """Return the error that says what is in a file without weights."""
    for place, item in (("", root), *(root.items() if isinstance(root, dict) else ())):
        if _is_module(item):
            return PickledModule(source, item.name, str(place))
    names = sorted({item.name for item in settled.foreign})
    if names:
        return ForeignObjects(source, names, "")
    if isinstance(root, TENSORS):
        return EmptyCheckpoint(source, "one tensor without a name")
    if isinstance(root, Unstorable):
        return unstorable(root, source, "")
    if isinstance(root, (list, tuple)):
        return EmptyCheckpoint(source, f"a list of {len(root)} things")
    if isinstance(root, dict):
        keys = ", ".join(repr(str(key))[:40] for key in list(root)[:6])
        return EmptyCheckpoint(source, f"a dict with the keys {keys}" if root else "an empty dict")
    return EmptyCheckpoint(source, f"a value of type {type(root).__name__}")


def _is_module(value: Any) -> bool:
    """Return whether a foreign object has the state of a ``torch.nn.Module``."""
    return isinstance(value, Foreign) and isinstance(value.state, dict) and "_parameters" in value.state


def _init(root: Any, places: list[Place]) -> Iterator[Mapping[str, Any]]:
    """Yield the init arguments that stand beside the weights, then those at the root."""
    for parent in {**dict.fromkeys(place[:-1] for place in places if place), (): None}:
        level = root
        for name in parent:
            level = level[name]
        for key in _INIT_KEYS if () not in places else ():
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


def _without(value: Any, places: list[Place]) -> dict[str, Any]:
    """Return a dict without the state dicts that were found in it."""
    if not isinstance(value, dict) or () in places:
        return {}
    inside: dict[Any, list[Place]] = {}
    for place in places:
        inside.setdefault(place[0], []).append(place[1:])
    rest: dict[str, Any] = {}
    for key, item in value.items():
        kept = _without(item, inside[key]) if key in inside else item
        if kept or key not in inside:
            rest[str(key)] = kept
    return rest
