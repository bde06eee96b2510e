"""Folders that training tools write: which of their files hold the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from registry.checkpoints.distributed import METADATA, open_distributed
from registry.checkpoints.mapping import unopenable
from registry.checkpoints.sharded import open_index
from registry.checkpoints.weights import Checkpoint
from registry.errors.checkpoints import DamagedCheckpoint, UnknownFolder, ZeroShards

INDEXES = (
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
)
SINGLE = ("model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors", "adapter_model.safetensors")
FSDP_FOLDER = "pytorch_model_fsdp_0"
"""Where Accelerate puts the torch.distributed.checkpoint of an FSDP model."""
LATEST = "latest"
"""DeepSpeed's file that names the folder of the newest step."""
_STATES = "model_states.pt"
_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".t7", ".th", ".tar")

OpenFile = Callable[[Path], Checkpoint]


def open_folder(path: Path, open_file: OpenFile) -> Checkpoint:
    """Read a folder of transformers, Accelerate, DeepSpeed or torch.distributed.checkpoint.

    Raises:
        UnknownFolder: it is none of these.
        ZeroShards: DeepSpeed spread its weights over ranks.
    """
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise unopenable(path, error) from error
    if METADATA in names:
        return open_distributed(path)
    for index in INDEXES:
        if index in names:
            return _of_folder(open_index(path / index, open_file), path)
    for single in SINGLE:
        if single in names:
            return _of_folder(open_file(path / single), path)
    if FSDP_FOLDER in names:
        return _of_folder(open_distributed(path / FSDP_FOLDER), path)
    if LATEST in names:
        return _of_folder(_open_deepspeed(path / _latest(path), open_file), path)
    if any(name.endswith(_STATES) for name in names):
        return _of_folder(_open_deepspeed(path, open_file), path)
    raise UnknownFolder(str(path), [name for name in names if name.endswith(_SUFFIXES)])


def _of_folder(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    return replace(checkpoint, source=str(path))


def _latest(path: Path) -> str:
    try:
        with (path / LATEST).open("rb") as file:
            name = file.read(200).decode().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not name or Path(name).name != name or name == ".." or not (path / name).is_dir():
        raise DamagedCheckpoint(str(path), f"its file 'latest' names {name[:60]!r}, which is no folder in it")
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
