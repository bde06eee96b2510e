"""Which tensors of a checkpoint a text such as ``model``, ``state.ema.model`` or ``heads.0`` means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from registry.canonical.form import is_extra_state
from registry.canonical.joining import modules_under
from registry.checkpoints.arrays import as_tensors
from registry.checkpoints.groups import KeyPath, parts_of
from registry.checkpoints.inventory import is_tensor, text_of
from registry.checkpoints.pickled_modules import is_module, module_sets
from registry.checkpoints.sets import weight_set
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.intake import SeveralWeightSets, UnknownWeightSet
from registry.errors.parts import BadPartName, SamePartName
from registry.tensors.paths import may_name_part

ROOT = "."
"""Means all that the file holds."""
MOST_AROUND = 20
"""Sets with others inside of them that a refusal describes."""


def choose(checkpoint: Checkpoint, key: str | Mapping[str, str] | None, *, has_class: bool = False) -> WeightSet:
    """Return the one set of weights, or the one that the user named, or those that are the parts of one version.

    Args:
        has_class: whether a class is going to judge a model that stands beside its average in one state dict.

    Raises:
        SeveralWeightSets, UnknownWeightSet: with those that there are.
        UnstorableTensor, ShardedTensors, ForeignObjects: it cannot be stored.
    """
    if isinstance(key, Mapping):
        return side_by_side({part: choose(checkpoint, path, has_class=has_class) for part, path in key.items()})
    sets = checkpoint.weight_sets
    if key is None and len(whole := [found for found in sets if found.inside is None]) == 1:
        sets = tuple(whole) if has_class or whole[0].own is not None else sets
    if key is None and sets[0].unasked is not None:
        raise sets[0].unasked
    if key is not None:
        chosen = sets_called(checkpoint, key)
        if len(chosen) != 1:
            raise UnknownWeightSet(checkpoint.source, key, _counts(chosen or sets), several=bool(chosen))
    elif len(sets) > 1:
        arrays = [found.key or ROOT for found in sets if found.are_arrays]
        modules = [found.key for found in sets if found.unasked is not None]
        raise SeveralWeightSets(checkpoint.source, _counts(sets), _loose(checkpoint.weight_sets), arrays, modules)
    else:
        chosen = list(sets)
    if chosen[0].fault is not None:
        raise chosen[0].fault
    return chosen[0].with_whole_extra_states()


def _counts(sets: Sequence[WeightSet]) -> dict[str, int]:
    return {s.key or ROOT: s.count for s in sets}


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
    if not found:
        return [known for known in checkpoint.weight_sets if known.key.rpartition("/")[2] == text]
    # What holds the state of an optimizer and nothing else has tensors, and no weights.
    return [found for found in sets if found.count]


def parts_called(paths: Iterable[str | tuple[str, str]]) -> dict[str, str]:
    """Return the paths of the sets that are the parts of one version, by the part's name.

    Args:
        paths: each alone, whose last step is the name then, or with a name.

    Raises:
        BadPartName: a last step is not a name.
        SamePartName: two would have one name.
    """
    named: dict[str, str] = {}
    for given in paths:
        part, path = given if isinstance(given, tuple) else (re.split(r"[./]", given)[-1], given)
        if not may_name_part(part):
            raise BadPartName(str(part))
        if part in named:
            raise SamePartName(part, [named[part], path])
        named[part] = path
    return named


def side_by_side(parts: Mapping[str, WeightSet]) -> WeightSet:
    """Return several sets as one, each below its part's name and a dot."""
    whole = {part: f"{part}." for part in parts}
    modules = {place: facts for part, found in parts.items() for place, facts in modules_under(part, found.metadata)}
    return WeightSet(
        ", ".join(found.key for found in parts.values()),
        {whole[part] + name: tensor for part, found in parts.items() for name, tensor in found.tensors.items()},
        {whole[part] + name: value for part, found in parts.items() for name, value in found.values.items()},
        modules or None,
        {
            whole[part] + one: whole[part] + other
            for part, found in parts.items()
            for one, other in found.aliases.items()
        },
        note="; ".join(filter(None, (found.note for found in parts.values()))),
        parts=parts,
    )


def _loose(sets: Sequence[WeightSet]) -> dict[str, list[str]]:
    """Return, by set, the names that stand in it around other sets."""
    keys = [found.key for found in sets]
    around: dict[str, list[str]] = {}
    for found in sets[-MOST_AROUND:]:  # those that contain others come last
        prefix = f"{found.key}/" if found.key else ""
        inside = [key[len(prefix) :].replace("/", ".") for key in keys if key != found.key and key.startswith(prefix)]
        if inside:
            own = [name for name in found.tensors if not name.startswith(tuple(f"{key}." for key in inside))]
            around[found.key or ROOT] = own
    return around


def _set(place: KeyPath, value: Any, source: str) -> WeightSet:
    """Return the tensors at a place, or the arrays where there are no tensors; of a pickled module, its state dict."""
    if is_module(value):
        return next(iter(module_sets(value, source, place)), WeightSet("/".join(place), {}))
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
