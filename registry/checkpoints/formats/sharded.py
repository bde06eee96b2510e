"""Weights split over several files beside an index, as transformers, Accelerate and huggingface_hub write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from registry.checkpoints.inventory import identities, left_out
from registry.checkpoints.mapping import OpenedFile, Span, status_of
from registry.checkpoints.weights import Checkpoint, WeightSet
from registry.errors.checkpoints import DamagedCheckpoint, MissingShard, NoSuchCheckpoint
from registry.tensors.safetensors import BadHeader, read_table
from registry.tensors.source import TensorSource

_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")

LARGEST_INDEX = 100_000_000


def is_index(content: Span) -> bool:
    """Return whether a file is the index of shards."""
    return content.read(0, 1) == b"{" and len(content) <= LARGEST_INDEX and b'"weight_map"' in content.read()


def open_index(path: Path, open_file: Callable[[Path], Checkpoint]) -> Checkpoint:
    """Read the shards that an index names, as one checkpoint.

    Raises:
        DamagedCheckpoint: the index is none, or differs from what its shards hold.
        MissingShard: one of its files is not there.
    """
    source = str(path)
    index = OpenedFile(path)
    weight_map = _weight_map(Span(index, 0, index.size), source)
    by_shard: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        by_shard.setdefault(shard, []).append(name)
    for shard, names in by_shard.items():
        if Path(shard).name != shard or shard in ("", ".", ".."):
            raise DamagedCheckpoint(source, f"it names the shard {shard[:60]!r}, which is not a file beside it")
        try:
            status_of(path.parent / shard)
        except NoSuchCheckpoint as error:
            raise MissingShard(source, shard, len(names)) from error
    if (unnamed := _unnamed(by_shard)) is not None:
        raise DamagedCheckpoint(source, f"it names no tensor of {unnamed}, so it is not the index of the whole model")
    parts = {shard: open_file(path.parent / shard) for shard in by_shard}
    tensors: dict[str, TensorSource] = {}
    values: dict[str, Any] = {}
    for shard, names in by_shard.items():
        weights = parts[shard].weight_sets[0]
        if weights.unasked is not None:
            raise weights.unasked
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
    files = (index, *(file for part in parts.values() for file in part.files))
    whole = WeightSet("", tensors, values, aliases=aliases)
    return Checkpoint(source, path, form, (whole,), contents={**tensors, **rest}, files=files, notes=notes)


def _unnamed(shards: Iterable[str]) -> str | None:
    """Return a shard that must be there by the numbers of the others, and that an index does not name."""
    numbered = [found for shard in shards if (found := _NUMBERED.fullmatch(shard)) is not None]
    for stem, _, total, suffix in {found.groups() for found in numbered}:
        have = {int(found[2]) for found in numbered if found[1] == stem and found[3] == total}
        missing = next((number for number in range(1, int(total) + 1) if number not in have), None)
        if missing is not None:
            return f"{stem}-{missing:05}-of-{total}{suffix}"
    return None


def _weight_map(content: Span, source: str) -> dict[str, str]:
    try:
        found = read_table(content.read(), "weight_map") if len(content) <= LARGEST_INDEX else None
    except BadHeader as fault:
        raise DamagedCheckpoint(source, f"it is not an index of shards: {fault}") from None
    if not found:
        raise DamagedCheckpoint(source, "it is not an index of shards")
    return found
