"""Weights split over several files beside an index, as transformers, Accelerate and huggingface_hub write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.checkpoints.inventory import identities, left_out
from registry.checkpoints.mapping import map_file
from registry.checkpoints.weights import Checkpoint, TensorSource, WeightSet
from registry.errors.checkpoints import DamagedCheckpoint, MissingShard

LARGEST_INDEX = 100_000_000


def is_index(content: memoryview) -> bool:
    """Return whether a file is the index of shards."""
    return content[0] == ord("{") and len(content) <= LARGEST_INDEX and b'"weight_map"' in bytes(content)


def open_index(path: Path, open_file: Callable[[Path], Checkpoint]) -> Checkpoint:
    """Read the shards that an index names, as one checkpoint.

    Raises:
        DamagedCheckpoint: the index is none, or differs from what its shards hold.
        MissingShard: one of its files is not there.
    """
    source = str(path)
    weight_map = _weight_map(map_file(path), source)
    by_shard: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        by_shard.setdefault(shard, []).append(name)
    for shard, names in by_shard.items():
        if Path(shard).name != shard or shard in ("", ".", ".."):
            raise DamagedCheckpoint(source, f"it names the shard {shard[:60]!r}, which is no file beside it")
        if not (path.parent / shard).exists():
            raise MissingShard(source, shard, len(names))
    parts = {shard: open_file(path.parent / shard) for shard in by_shard}
    tensors: dict[str, TensorSource] = {}
    values: dict[str, Any] = {}
    for shard, names in by_shard.items():
        weights = parts[shard].weight_sets[0]
        if weights.fault is not None:
            raise weights.fault
        held = {**weights.tensors, **weights.values}
        if different := set(held) ^ set(names):
            raise DamagedCheckpoint(source, f"it and the shard {shard} differ in '{min(different)[:60]}'")
        values.update(weights.values)
    for name, shard in weight_map.items():
        if name not in values:
            tensors[name] = parts[shard].weight_sets[0].tensors[name]
    form = "safetensors-sharded" if all(part.format == "safetensors" for part in parts.values()) else "torch-sharded"
    aliases = {old: new for part in parts.values() for old, new in part.weight_sets[0].aliases.items()}
    notes = tuple(note for part in parts.values() for note in part.notes)
    used = identities(tensors.values())
    rest = {f"{shard}": part.contents for shard, part in parts.items() if left_out({(): part.contents}, used)}
    whole = WeightSet("", tensors, values, aliases=aliases)
    return Checkpoint(source, path, form, (whole,), contents={**tensors, **rest}, notes=notes)


def shards_of(path: Path) -> set[str]:
    """Return the names of the files that an index names.

    Raises:
        DamagedCheckpoint: the index is none.
    """
    return set(_weight_map(map_file(path), str(path)).values())


def _weight_map(content: memoryview, source: str) -> dict[str, str]:
    try:
        raw = json.loads(bytes(content))["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamagedCheckpoint(source, "it is no index of shards") from None
    if not isinstance(raw, dict) or not raw or not all(isinstance(shard, str) for shard in raw.values()):
        raise DamagedCheckpoint(source, "its weight_map is no table of names and files")
    return raw
