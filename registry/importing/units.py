"""Which folders are one checkpoint, by what lies in them. Their readers are those of a push."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from registry.checkpoints.folders import FSDP_FOLDER, INDEXES, LATEST, SINGLE
from registry.checkpoints.formats.sharded import is_index
from registry.checkpoints.mapping import open_span
from registry.checkpoints.parts import METADATA
from registry.errors.root import RegistryError

Unit = Literal["whole", "single", "unpacked"]
"""``whole``: its pieces are no checkpoints by themselves. ``single``: a file in it has the weights, and others beside
it may have weights of their own. ``unpacked``: what an archive of torch.save became."""

_STATES = "_model_states.pt"
_MOST_TEXT = 1 << 16


def unit_of(folder: Path, names: Collection[str]) -> Unit | None:
    """Return whether a folder with these names in it is one checkpoint, and of which kind."""
    if METADATA in names or FSDP_FOLDER in names or any(_is_index(folder, name) for name in names):
        return "whole"
    if any(name in names for name in SINGLE):
        return "single"
    if any(name.endswith(_STATES) for name in names) or (LATEST in names and _is_deepspeed(folder)):
        return "whole"
    # "data" has the storages; a data.pkl alone is anybody's.
    return "unpacked" if "data.pkl" in names and ("data" in names or "version" in names) else None


def _is_index(folder: Path, name: str) -> bool:
    if name in INDEXES:
        return True
    try:
        return name.endswith(".index.json") and is_index(open_span(folder / name))
    except RegistryError:
        return False


def _is_deepspeed(folder: Path) -> bool:
    """Whether the file 'latest' names a folder of DeepSpeed; many things are called so."""
    try:
        with (folder / LATEST).open("rb") as file:
            name = file.read(_MOST_TEXT).decode().strip()
        step = folder / name
        return Path(name).name == name != ".." and any(inner.name.endswith(_STATES) for inner in step.iterdir())
    except (OSError, ValueError):
        return False
