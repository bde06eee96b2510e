"""Opening a checkpoint: what it is, by its content, and which reader understands it."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.checkpoints.averages import with_averages
from registry.checkpoints.containers import sort_contents
from registry.checkpoints.folders import open_folder
from registry.checkpoints.formats.safetensors_file import begins_safetensors, read_safetensors
from registry.checkpoints.formats.sharded import is_index, open_index
from registry.checkpoints.formats.torch_legacy import begins_legacy, read_torch_legacy
from registry.checkpoints.formats.torch_zip import read_torch_zip
from registry.checkpoints.formats.zip_archive import MAGIC as ZIP
from registry.checkpoints.mapping import OpenedFile, Span, open_span, status_of
from registry.checkpoints.other_formats import dangling, is_dangling, is_unfinished, keeps_weights, other_file
from registry.checkpoints.parts import METADATA, part_note, refuse_part, refuse_spread
from registry.checkpoints.settling import settle
from registry.checkpoints.weights import Checkpoint
from registry.errors.checkpoints import DamagedCheckpoint, EmptyCheckpoint, NotACheckpoint, ShardedTensors

SHARDING = "DCP_SHARDING_INFO"
"""Metadata of safetensors files whose tensors are pieces (torch.distributed.checkpoint's HuggingFaceStorageWriter)."""


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a file or folder that somebody saved; nothing in it is executed, and its tensors stay in the file.

    Raises:
        NoSuchCheckpoint, UnopenableCheckpoint, NotACheckpoint, UnknownFolder: it is not there or something else.
        DamagedCheckpoint, OversizedCheckpoint: its bytes contradict each other or claim too much.
        PickledModule, TorchScriptArchive, ForeignObjects, EmptyCheckpoint: no weights can be read from it.
        UnstorableTensor, ShardedTensors, ZeroShards, MissingShard, OneShard, PartOfModel: its weights are not whole.
    """
    place = Path(path)
    if is_dangling(place):
        raise dangling(place)
    if stat.S_ISDIR(status_of(place).st_mode):
        return with_averages(open_folder(place, open_file, read_file))
    if place.name == METADATA:
        return with_averages(open_folder(place.parent, open_file, read_file))
    refuse_part(place)
    try:
        checkpoint = with_averages(open_file(place))
    except (DamagedCheckpoint, NotACheckpoint) as error:
        if is_unfinished(place.name):
            what = f"a download that has not ended ({place.suffix})"
            raise NotACheckpoint(str(place), what, "let it end, or download it again", stands_for=True) from error
        raise
    note = part_note(place)
    return replace(checkpoint, notes=(*checkpoint.notes, note)) if note else checkpoint


def open_file(path: Path) -> Checkpoint:
    """Read one file, also one that is a part of a folder."""
    content, source = open_span(path), str(path)
    head = content.read(0, 4096)
    if begins_safetensors(head):
        return _from_safetensors(content, source, path)
    if is_index(content):
        return open_index(path, open_file)
    value, form = _pickled(content, head, source)
    found = sort_contents(value, source, len(content), path, form)
    refuse_spread(found.contents, source)
    return replace(found, files=_files(content))


def read_file(path: Path) -> Any:
    """Return what a file holds, weights or not, or None if it is of no format that holds tensors.

    Raises:
        RegistryError: it is of one, or of another program's, and cannot be read.
    """
    content, source = open_span(path), str(path)
    head = content.read(0, 4096)
    if begins_safetensors(head):
        return dict(read_safetensors(content, source)[0].tensors)
    if head[:4] == ZIP or begins_legacy(head):
        return settle(_pickled(content, head, source)[0], source, len(content)).value
    if keeps_weights(head):
        raise other_file(head, content, source)
    return None


def _pickled(content: Span, head: bytes, source: str) -> tuple[Any, str]:
    """Return what torch.save wrote, and in which of its formats."""
    if head[:4] == ZIP:
        return read_torch_zip(content, source), "torch-zip"
    if begins_legacy(head):
        return read_torch_legacy(content, source), "torch-legacy"
    raise other_file(head, content, source)


def _files(content: Span) -> tuple[OpenedFile, ...]:
    return (content.file,) if isinstance(content.file, OpenedFile) else ()


def _from_safetensors(content: Span, source: str, path: Path) -> Checkpoint:
    weights, metadata = read_safetensors(content, source)
    if SHARDING in metadata:
        raise ShardedTensors(source, next(iter(weights.tensors), ""), "piece written by torch.distributed.checkpoint")
    if not weights.tensors:
        raise EmptyCheckpoint(source, "a safetensors file without tensors")
    facts = {key: metadata[key] for key in ("format",) if key in metadata}
    return Checkpoint(
        source, path, "safetensors", (weights,), facts=facts, contents=dict(weights.tensors), files=_files(content)
    )
