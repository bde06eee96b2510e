"""Folders that training tools write: which of their files hold the weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.checkpoints.documents import Documents, read_documents, said_of
from registry.checkpoints.formats.distributed import open_distributed, read_distributed
from registry.checkpoints.formats.sharded import open_index
from registry.checkpoints.inventory import bears_tensors
from registry.checkpoints.mapping import OpenedFile, is_regular, unopenable
from registry.checkpoints.other_formats import other_folder
from registry.checkpoints.parts import METADATA, is_shard, refuse_part
from registry.checkpoints.states import kind_of_state
from registry.checkpoints.weights import Checkpoint
from registry.errors.checkpoints import (
    DamagedCheckpoint,
    MissingShard,
    NotACheckpoint,
    PartOfModel,
    SavedTwice,
    UnknownFolder,
    UnpackedCheckpoint,
    ZeroShards,
)
from registry.errors.libraries import PipelineFolder
from registry.errors.models import first_line
from registry.errors.root import RegistryError

INDEXES = (
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
)
_INDEX = ".index.json"
SINGLE = (
    *("model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    *("adapter_model.safetensors", "adapter_model.bin"),
)
PIPELINE = "model_index.json"
"""Where diffusers says of which models a pipeline is made, each in a folder of its own."""
FSDP_FOLDER = "pytorch_model_fsdp_0"
"""Where Accelerate puts the torch.distributed.checkpoint of an FSDP model."""
LATEST = "latest"
"""DeepSpeed's file that names the folder of the newest step."""
_STATES = "model_states.pt"
_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".t7", ".th", ".tar")

_TRAINER = "trainer_state.json"
"""Where the Trainer of transformers says at which step it was."""
_LARGEST_TEXT = 100_000_000
MOST_FILES = 10_000
"""Files of one folder that are looked at."""

OpenFile = Callable[[Path], Checkpoint]
ReadFile = Callable[[Path], Any]


def open_folder(path: Path, open_file: OpenFile, read_file: ReadFile) -> Checkpoint:
    """Read a folder of transformers, Accelerate, DeepSpeed or torch.distributed.checkpoint.

    Whatever else in it holds tensors is the checkpoint's ``beside``; the state of an optimizer, a scheduler or a scaler
    in a file of its own belongs to the training of these weights.

    Args:
        open_file: reads a file with weights.
        read_file: reads any file, and returns what it holds or None.

    Raises:
        UnknownFolder: it is none of these.
        ZeroShards: DeepSpeed spread its weights over ranks.
        PartOfModel: it has shards and not their index.
        PipelineFolder: it is a pipeline of several models.
        UnpackedCheckpoint: it is a file of torch that something unpacked.
        NotACheckpoint: another program wrote it.
    """
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise unopenable(path, error) from error
    index = next((name for name in (*INDEXES, *names) if name in names and name.endswith(_INDEX)), None)
    single = next((name for name in SINGLE if name in names), None)
    if METADATA in names:
        checkpoint = open_distributed(path)
    elif index is not None:
        twin = index.removesuffix(_INDEX)
        checkpoint = _open_sharded(path, index, twin if twin in names else None, open_file)
    elif single is not None:
        checkpoint = open_file(path / single)
    elif FSDP_FOLDER in names:
        checkpoint = open_distributed(path / FSDP_FOLDER)
    elif LATEST in names:
        checkpoint = _open_deepspeed(path / _latest(path), open_file)
    elif any(name.endswith(_STATES) for name in names):
        checkpoint = _open_deepspeed(path, open_file)
    elif unpacked := _unpacked(path, names):
        raise UnpackedCheckpoint(str(path), str(unpacked.parent), unpacked.name)
    elif shards := [name for name in names if is_shard(name)]:
        raise PartOfModel(str(path), f"{shards[0]} is a shard, without an index beside it", "get its *.index.json, too")
    elif PIPELINE in names:
        raise PipelineFolder(str(path), [name for name in names if _has_one_model(path / name)])
    elif (other := other_folder(names)) is not None:
        raise NotACheckpoint(str(path), *other)
    else:
        files = [name for name in names if name.endswith(_SUFFIXES)]
        for name in files:
            refuse_part(path / name)
        raise UnknownFolder(str(path), files)
    return _with_neighbors(replace(checkpoint, source=str(path)), path, read_file)


def _open_sharded(path: Path, index: str, whole: str | None, open_file: OpenFile) -> Checkpoint:
    """Read the shards of an index, or a whole file beside it, where libraries saved into one folder twice.

    ``save_pretrained`` removes the shards of an earlier save and neither their index nor an earlier whole file, which
    is what ``from_pretrained`` then reads.
    """
    try:
        checkpoint = open_index(path / index, open_file)
    except MissingShard:
        if whole is None:
            raise
        note = f"'{index}' is of an earlier save, whose shards are gone: what is stored is '{whole}'"
        checkpoint = open_file(path / whole)
        files = (*checkpoint.files, OpenedFile(path / index))
        return replace(checkpoint, files=files, notes=(*checkpoint.notes, note))
    if whole is None:
        return checkpoint
    unasked = SavedTwice(str(path), whole, index)
    return replace(checkpoint, weight_sets=tuple(replace(each, unasked=unasked) for each in checkpoint.weight_sets))


def _unpacked(path: Path, names: Sequence[str]) -> Path | None:
    """Return the folder that an archive of torch.save became when something unpacked it."""
    inside = [path, *(path / name for name in names[:1] if len(names) == 1)]
    return next((folder.absolute() for folder in inside if is_regular(folder / "data.pkl")), None)


def _with_neighbors(checkpoint: Checkpoint, path: Path, read_file: ReadFile) -> Checkpoint:
    """Return a checkpoint of a folder with what the other files of the folder hold."""
    used = {checkpoint.path, *(file.path for file in checkpoint.files)}
    beside: dict[str, Any] = {}
    training = dict(checkpoint.training)
    notes, unreadable = [], []
    for number, place in enumerate(_files(path, used)):
        if number == MOST_FILES:
            notes.append(f"only {MOST_FILES} files of the folder were looked at for tensors that are not stored")
            break
        name = place.relative_to(path).as_posix()
        try:
            value = read_distributed(place)[0] if place.is_dir() else read_file(place)
        except RegistryError as error:
            notes.append(f"not stored: '{name}', which cannot be read: {first_line(error)}")
            unreadable.append(name)
            continue
        if value is not None:
            beside[name] = value
            if place.parent == path and kind_of_state(value):
                training[name] = value
    if is_regular(path / _TRAINER):
        training.update(_progress(path / _TRAINER))
    documents = read_documents(path)
    aside = {*unreadable, *training, _TRAINER, LATEST}
    aside.update(name for name, value in beside.items() if bears_tensors(value))
    others = _others(documents, path, used, aside)
    return replace(
        checkpoint,
        training=training,
        beside=beside,
        documents=replace(documents, others=others),
        files=(*checkpoint.files, *documents.files),
        notes=(*checkpoint.notes, *notes, *filter(None, [said_of(others)])),
    )


def _others(documents: Documents, path: Path, used: Collection[Path | None], aside: Collection[str]) -> tuple[str, ...]:
    """Return what is not kept of a folder, without what is used or named already."""
    own = {place.relative_to(path).as_posix() for place in used if place is not None and path in place.parents}
    named = {*own, *aside}

    def is_new(name: str) -> bool:
        if name.endswith("/"):  # a folder is new as long as nothing in it is
            return not any(f"{other}/".startswith(name) for other in named)
        return name not in named and not name.endswith((".index.json", METADATA, ".distcp"))

    return tuple(name for name in documents.others if is_new(name))


def _has_one_model(folder: Path) -> bool:
    try:
        return folder.is_dir() and any(entry.name in (*SINGLE, *INDEXES) for entry in folder.iterdir())
    except OSError:
        return False


def _files(path: Path, used: Collection[Path | None]) -> Iterator[Path]:
    """Yield the files under a folder that were not used, and each distributed checkpoint as its directory."""
    for folder, folders, names in os.walk(path):
        here = Path(folder)
        folders.sort()
        if METADATA in names and here != path:
            folders.clear()
            if here not in used:
                yield here
            continue
        pieces = METADATA in names or here in used
        for name in sorted(names):
            is_piece = pieces and (name == METADATA or name.endswith(".distcp"))
            if not is_piece and here / name not in used and is_regular(here / name) and (here / name).stat().st_size:
                yield here / name


def _progress(path: Path) -> dict[str, int]:
    """Return the step at which a Trainer was."""
    try:
        with path.open("rb") as file:
            state = json.loads(file.read(_LARGEST_TEXT))
    except (OSError, ValueError, RecursionError):
        return {}
    step = state.get("global_step") if isinstance(state, dict) else None
    return {"global_step": step} if type(step) is int else {}


def _latest(path: Path) -> str:
    try:
        with (path / LATEST).open("rb") as file:
            name = file.read(200).decode().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not name or Path(name).name != name or name == ".." or not (path / name).is_dir():
        raise DamagedCheckpoint(str(path), f"its file 'latest' names {name[:60]!r}, which is not a folder in it")
    return name


def _open_deepspeed(path: Path, open_file: OpenFile) -> Checkpoint:
    states = [entry.name for entry in sorted(path.iterdir()) if entry.name.endswith(_STATES)]
    _refuse_partial(str(path), states)
    return open_file(path / states[0])


def _refuse_partial(source: str, states: Sequence[str]) -> None:
    if not states:
        raise DamagedCheckpoint(source, "it has no file *_model_states.pt")
    if any(name.startswith("zero_pp_rank_") for name in states):
        raise ZeroShards(source, "ZeRO-3")
    if len(states) > 1 or any(name.startswith("layer_") for name in states):
        raise ZeroShards(source, "tensor- or pipeline-parallel")
