"""Averages of a model that stand among its own names in one state dict, offered as sets of weights of their own.

Pure. Libraries write three spellings: a second tree of the same names (``ema_model.`` beside ``online_model.``),
buffers whose names have lost their dots (``model_ema.layersconvweight``), and flat ones at the root
(``ema_layers_conv_weight``). An average is known by what it is a copy of: every tensor of it that is no counter has a
counterpart of the same shape, and they are most of the model. A word for it has to be in its name, since twins may be
two parts of one model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from registry.canonical.wrappers import WRAPPERS
from registry.checkpoints.groups import AVERAGED
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.canonical import some
from registry.tensors.source import TensorSource

AVERAGING = next(row.component for row in WRAPPERS if row.name == "ema")
"""What the wrappers that average call the model in them."""

_AT_ROOT = re.compile(r"(ema|swa|averaged?|shadow|polyak)_", re.IGNORECASE)
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: f"{AVERAGING}.{name}",
    lambda name: name.replace(".", ""),
    lambda name: name.replace(".", "_"),
)

Tensors = Mapping[str, TensorSource]


@dataclass(frozen=True)
class Averaged:
    """What a state dict holds beside itself."""

    sets: tuple[WeightSet, ...]
    """The model, where it stands under a name of its own, and its averages."""
    own: WeightSet | None = None
    """The state dict without its averages, where the model stands at the top."""


def averaged(weights: WeightSet) -> Averaged | None:
    """Return the averages in a state dict as sets of weights, and the sets that they are of; None if it has none."""
    top = _common(weights.tensors)
    inside = _below(weights.tensors, top)
    trees: dict[str, dict[str, TensorSource]] = {}
    for name, source in inside.items():
        first, _, rest = name.partition(".")
        if rest:
            trees.setdefault(first, {})[rest] = source
    found: dict[str, WeightSet] = {}
    bases: dict[str, WeightSet] = {}
    for key, tree in trees.items():
        if AVERAGED.search(key) and (model := _original(key, tree, trees)) is not None:
            copies = _copies(tree, trees[model]) or {}
            found[key] = _average(weights, f"{top}{key}", copies, trees[model], f"{top}{model}")
            bases[model] = _part(weights, f"{top}{model}")
    if found:
        return Averaged((*bases.values(), *found.values()))
    return _at_root(weights, top, inside)


def with_averages(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint that offers the averages in its sets, too; last, a set that is a model and its average."""
    sets: list[WeightSet] = []
    around: list[WeightSet] = []
    for weights in checkpoint.weight_sets:
        parts = averaged(weights)
        if parts is None:
            sets.append(weights)
        elif parts.own is None:
            sets += parts.sets
            around.append(weights)
        else:
            sets += [replace(weights, own=parts.own, note=_told(parts.sets)), *parts.sets]
    return replace(checkpoint, weight_sets=(*sets, *around))


def _told(averages: Sequence[WeightSet]) -> str:
    """Return the sentence that names the averages which are stored with the model."""
    keys = [found.key.replace("/", ".") for found in averages]
    noun = "an average" if len(keys) == 1 else "averages"
    return f"it holds {noun} of the model among its names: {some(keys)}; --weights {keys[0]} stores that alone"


def _at_root(weights: WeightSet, top: str, inside: Tensors) -> Averaged | None:
    """Return the averages that stand under words of their own beside the names of the model: ``ema_conv_weight``."""
    words = {first: bool(AVERAGED.search(first)) for first in {name.partition(".")[0] for name in inside}}
    groups: dict[str, dict[str, TensorSource]] = {}
    for name, source in inside.items() if any(words.values()) or any(map(_AT_ROOT.match, words)) else ():
        first, _, rest = name.partition(".")
        if rest and words[first]:
            groups.setdefault(f"{first}.", {})[rest] = source
        elif not rest and (word := _AT_ROOT.match(name)):
            groups.setdefault(word[0], {})[name[len(word[0]) :]] = source
    if not groups:
        return None
    base = {name: source for name, source in inside.items() if not name.startswith(tuple(groups))}
    found = {}
    for prefix, group in groups.items():
        if (copies := _copies(group, base)) is not None:
            found[prefix] = _average(weights, f"{top}{prefix.rstrip('._')}", copies, base, top.rstrip("."))
    if not found:
        return None
    aside = tuple(f"{top}{prefix}" for prefix in found)
    own = {name: source for name, source in weights.tensors.items() if not name.startswith(aside)}
    return Averaged(tuple(found.values()), replace(weights, tensors=own))


def _original(key: str, tree: Tensors, trees: Mapping[str, Tensors]) -> str | None:
    """Return the tree that one is an average of; of several that it could be of, the one that it is called after."""
    found = [name for name, base in trees.items() if not AVERAGED.search(name) and _copies(tree, base) is not None]
    named = [name for name in found if name in key]
    return next((each[0] for each in (found, named) if len(each) == 1), None)


def _copies(tree: Tensors, base: Tensors) -> dict[str, TensorSource] | None:
    """Return the tensors of a tree under the names of what they are copies of, or None if they are none."""
    for spelled in _SPELLINGS:
        original = {spelled(name): name for name in base}
        if len(original) < len(base):
            continue  # two names become one
        copies = {original[name]: source for name, source in tree.items() if name in original}
        counters = [source for name, source in tree.items() if name not in original]
        if (
            _elements(copies) * 2 > _elements(base)
            and all(source.spec.shape == base[name].spec.shape for name, source in copies.items())
            and all(source.spec.numel == 1 for source in counters)
        ):
            return copies
    return None


def _elements(tensors: Tensors) -> int:
    return sum(source.spec.numel for source in tensors.values())


def _average(weights: WeightSet, key: str, copies: Tensors, base: Tensors, of: str) -> WeightSet:
    """Return an average under the names of its model; what was not averaged, as its buffers, is the model's own."""
    if any(all(f"{path}.{name}" in weights.tensors for name in copies) for path in (key, f"{key}.{AVERAGING}")):
        return _part(weights, key)  # a whole model, or one in the wrapper that averages
    rest = [name for name in base if name not in copies]
    note = f"'{key}' has no average of {some(rest)}: what is stored is the model's own" if rest else ""
    tensors = {name: copies.get(name, source) for name, source in base.items()}
    return replace(_part(weights, of), key=_place(weights, key), tensors=tensors, note=note)


def _part(weights: WeightSet, path: str) -> WeightSet:
    """Return what stands under a path in a state dict as a set of its own."""
    prefix = f"{path}." if path else ""
    aliases = _below(weights.aliases, prefix)
    return WeightSet(
        _place(weights, path),
        _below(weights.tensors, prefix),
        _below(weights.values, prefix),
        _modules(weights.metadata, path),
        {dropped: kept[len(prefix) :] for dropped, kept in aliases.items() if kept.startswith(prefix)},
        fault=weights.fault,
        inside=weights.key,
    )


def _place(weights: WeightSet, path: str) -> str:
    return f"{weights.key}/{path}".lstrip("/")


def _modules(metadata: Mapping[str, Any] | None, path: str) -> dict[str, Any] | None:
    if metadata is None:
        return None
    if not path:
        return dict(metadata)
    return {module[len(path) + 1 :]: facts for module, facts in metadata.items() if f"{module}.".startswith(f"{path}.")}


def _below(named: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name[len(prefix) :]: item for name, item in named.items() if name.startswith(prefix)}


def _common(names: Mapping[str, Any]) -> str:
    """Return the components that all names begin with, as ``module.``."""
    return "".join(_leading(list(names)))


def _leading(names: list[str]) -> Iterator[str]:
    while names:
        first = {name.partition(".")[0] for name in names}
        if len(first) > 1 or not all("." in name for name in names):
            return
        yield f"{first.pop()}."
        names = [name.partition(".")[2] for name in names]
