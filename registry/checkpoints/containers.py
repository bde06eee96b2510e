"""Which parts of a file's value are weights, which belong to the training, which say how the model was built.

Pure: from inert values to inert values. Recognized by structure at any depth, through dicts, lists and tuples; names
only order what was found.

A *set of weights* is a dict in which every entry is a tensor under a name, as in a state dict. Tensors of several
fractions can be weights; counters, losses and random states cannot. Where one set is found it is meant, and everything
else that bears tensors is named (see ``inventory``). Several sets, or tensors that lie loose around a set, are the
user's to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.checkpoints.arrays import array_sets, as_tensors, is_weight, sets_of_arrays
from registry.checkpoints.assembled import TENSORS
from registry.checkpoints.groups import Group, KeyPath, at, find_sets, parts_of, places_above, rank, values_in
from registry.checkpoints.inventory import is_tensor, text_of
from registry.checkpoints.pickled_modules import is_module, module_sets
from registry.checkpoints.pickles.torch_vocabulary import Unstorable
from registry.checkpoints.sets import overlap_note, unstorable, weight_set
from registry.checkpoints.settling import Settled, settle
from registry.checkpoints.states import kind_of_state, states_in
from registry.checkpoints.tensors import FileTensor
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.canonical import some
from registry.errors.checkpoints import (
    ArraysOfNumpy,
    EmptyCheckpoint,
    ForeignObjects,
    OversizedCheckpoint,
    PickledModule,
    ZeroShards,
)
from registry.errors.intake import ModuleInDict
from registry.tensors.dtypes import ALL_ITEM_SIZES
from registry.tensors.foreign import Array
from registry.tensors.source import TensorSource

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

_NAMED = "save them with names as in model.state_dict()"
_OTHER_FILE = "push the file that has the model's weights"
_ARE_ARRAYS = "the weights in it are arrays of numpy, which are stored as tensors of the same values"


def sort_contents(value: Any, source: str, nbytes: int | None, path: Path | None, form: str) -> Checkpoint:
    """Sort the value of a file of ``nbytes`` bytes, or of memory, into weights, training state and facts.

    Args:
        path: of the file or folder.
        form: its format.

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
    modules = module_sets(root, source) if nbytes is not None else ()
    if modules and not any(group.is_state_dict and group.can_be_weights for group in found):
        found = []  # what lies loose beside a model is not one
    are_arrays = not found
    if are_arrays and not modules:
        found = sets_of_arrays(root)
    above = places_above(found)
    found.sort(key=lambda group: (group.place in above, rank(group)))
    if not found and modules:
        training = _without(root, [tuple(weights.key.split("/")) if weights.key else () for weights in modules])
        return Checkpoint(source, path, form, modules, training, facts=_facts(root), contents=root)
    if not found:
        raise _nothing(root, settled, source, in_memory=nbytes is None)
    if nbytes is None:
        _refuse_live(root, found, source)
    sets = tuple(weight_set(group.place, group.value, source) for group in found)
    if len(sets) == 1 and sets[0].fault is not None:
        raise sets[0].fault
    _refuse_parts(root, sets, source)
    notes = list(dict.fromkeys(note for weights in sets if (note := overlap_note(weights))))
    notes += [_ARE_ARRAYS] if are_arrays else filter(None, map(_arrays_note, found))
    foreign = sorted({item.name for item in settled.foreign if not is_module(item)})
    if foreign:
        notes.append(f"objects that only running code could rebuild were not read: {', '.join(foreign[:6])}")
    if not are_arrays:
        sets = (*sets, *_modules(modules, found), *_arrays(root, found, source))
    places = [group.place for group in found]
    init = next((dict(arguments) for arguments in _init(root, places) if arguments), {})
    apart = [group.place for group in found if group.place not in above]
    training = _without(root, apart)
    return Checkpoint(source, path, form, sets, training, init, _facts(root), root, notes=tuple(notes))


def _refuse_live(root: Any, found: Sequence[Group], source: str) -> None:
    """Refuse a dict of memory with a live module that bears as much as a state dict in it: it is no part of that."""
    least = min(group.elements for group in found)
    for place, item in values_in(root):
        if is_module(item) and Group((), item.state["_parameters"]).elements >= least:
            raise ModuleInDict(source, item.name, "/".join(map(text_of, place)))


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
        weights = weight_set(group.place, as_tensors(at(root, group.place)), source)
        yield replace(weights, are_arrays=True)


def _modules(modules: Iterable[WeightSet], found: Sequence[Group]) -> Iterator[WeightSet]:
    """Yield the pickled modules that bear as much as a state dict, but not what another model was constructed with."""
    least = min(group.elements for group in found)
    for weights in modules:
        numbers = sum(tensor.spec.numel for tensor in weights.tensors.values())
        if numbers >= least and not set(_INIT_KEYS).intersection(weights.key.split("/")):
            yield weights


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
    for place, item in values_in(root):
        if is_module(item) and in_memory:
            where = "/".join(map(str, place))
            return EmptyCheckpoint(source, f"a live module ({item.name}) under '{where}'", "push that module itself")
        if is_module(item):
            return PickledModule(source, item.name, place)
    names = sorted({item.name for item in settled.foreign})
    if names:
        return ForeignObjects(source, names, "")
    for place, item in values_in(root):
        arrays = sum(isinstance(part, Array) for part in item.values()) if isinstance(item, dict) else 0
        if arrays and all(isinstance(key, str) for key in item):
            return ArraysOfNumpy(source, place, arrays)
        odd = [key for key in item if not isinstance(key, str)] if isinstance(item, dict) else []
        if odd and any(map(is_tensor, item.values())):
            key = text_of(odd[0])[:40]
            return EmptyCheckpoint(source, f"a dict of tensors in which the key {key} is not text", _NAMED)
    if isinstance(root, TENSORS):
        return EmptyCheckpoint(source, "one tensor without a name")
    if isinstance(root, Unstorable):
        return unstorable(root, source, "")
    kind = kind_of_state(root)
    if kind is not None:
        return EmptyCheckpoint(source, f"the state of the {kind}", _OTHER_FILE)
    if isinstance(root, (list, tuple)):
        are_tensors = bool(root) and all(isinstance(item, (*TENSORS, Array)) for item in root)
        return EmptyCheckpoint(source, f"a list of {len(root)} {'tensors without names' if are_tensors else 'things'}")
    if isinstance(root, dict):
        keys = ", ".join(repr(text_of(key))[:40] for key in list(root)[:6])
        found = f"a dict with the keys {keys}" if root else "an empty dict"
        if states := sorted({kind for kind, _ in states_in(root)}):
            of = " and the ".join(states)
            return EmptyCheckpoint(source, f"{found}, with the state of the {of}", _OTHER_FILE)
        return EmptyCheckpoint(source, found)
    return EmptyCheckpoint(source, f"a value of type {type(root).__name__}")


def _init(root: Any, places: list[KeyPath]) -> Iterator[Mapping[str, Any]]:
    """Yield the init arguments that stand beside the weights, then those at the root."""
    for parent in {**dict.fromkeys(place[:-1] for place in places if place), (): None}:
        level = at(root, parent)
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
            return {text_of(key): item for key, item in parts_of(value) if kind_of_state(item)}
        inside.setdefault(place[0], []).append(place[1:])
    rest: dict[str, Any] = {}
    for key, item in parts_of(value):
        name = text_of(key)
        kept = _without(item, inside[name]) if name in inside else item
        if kept or name not in inside:
            rest[name] = kept
    return rest
