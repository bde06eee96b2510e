"""Opening a checkpoint: what it is, by its content, and which reader understands it."""

from __future__ import annotations

import os
import re
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
from registry.checkpoints.formats.torch_zip import MAGIC as ZIP, read_torch_zip
from registry.checkpoints.mapping import OpenedFile, Span, open_span, status_of
from registry.checkpoints.parts import METADATA, part_note, refuse_part, refuse_spread
from registry.checkpoints.settling import settle
from registry.checkpoints.weights import Checkpoint
from registry.errors.checkpoints import EmptyCheckpoint, NotACheckpoint, ShardedTensors

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
    if stat.S_ISDIR(status_of(place).st_mode):
        return with_averages(open_folder(place, open_file, read_file))
    if place.name == METADATA:
        return with_averages(open_folder(place.parent, open_file, read_file))
    refuse_part(place)
    checkpoint = with_averages(open_file(place))
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
    if head.startswith(_OF_OTHERS) or _PICKLE.match(head) or _ONNX.match(head):
        raise _unknown(head, source)
    return None


def _pickled(content: Span, head: bytes, source: str) -> tuple[Any, str]:
    """Return what torch.save wrote, and in which of its formats."""
    if head[:4] == ZIP:
        return read_torch_zip(content, source), "torch-zip"
    if begins_legacy(head):
        return read_torch_legacy(content, source), "torch-legacy"
    raise _unknown(head, source)


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


_SIGNATURES = (
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras writes them", "export it from a PyTorch model"),
    (b"\x93NUMPY", "an array of numpy", "load it with numpy and torch.save a state dict"),
    (b"GGUF", "a GGUF file of llama.cpp", "give the PyTorch checkpoint that it was made from"),
    (b"version https://git-lfs", "a pointer of git-lfs and not the file itself", "fetch it with `git lfs pull`"),
    (b"SQLite format 3", "a SQLite database", ""),
    (b"\x7fELF", "a program", ""),
    (b"%PDF", "a PDF document", ""),
    (b"\x89PNG", "an image", ""),
    (b"\xff\xd8\xff", "an image", ""),
)
_OF_OTHERS = (b"\x89HDF\r\n", b"\x93NUMPY", b"GGUF")
"""How the files begin in which other programs keep weights."""
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_ONNX = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x32\x3a\x42]")
"""A version and the beginning of a name, a graph or a list of operators, as protobuf writes them."""
_READABLE = "give a file that torch.save or safetensors wrote"


def _unknown(head: bytes, source: str) -> NotACheckpoint:
    """Return the error that says what the file is instead of a checkpoint, by its first bytes."""
    for signature, what, remedy in _SIGNATURES:
        if head.startswith(signature):
            return NotACheckpoint(source, what, remedy or _READABLE)
    if head[257:262] == b"ustar":
        return NotACheckpoint(
            source,
            "a tar archive (torch before 0.1.10 wrote those, and so do packers)",
            "unpack it, or load it with torch.load and save its state dict again",
        )
    if not head.strip(b"\0"):
        what = "nothing but zeros, as far as it was looked at"
        return NotACheckpoint(source, what, "copy or save it again", False)
    if head.lstrip()[:1] == b"<":
        return NotACheckpoint(source, "a web page or XML", "download the file itself, perhaps after logging in")
    if _PICKLE.match(head):
        return NotACheckpoint(
            source,
            "a plain Python pickle that torch.save did not write, or the damaged beginning of a file that it did",
            "if you trust it, load it with pickle and torch.save the state dict",
            False,
        )
    if _ONNX.match(head) or b"onnx" in head[:64].lower():
        return NotACheckpoint(source, "an ONNX model", "give the PyTorch checkpoint that it was made from")
    if _is_text(head):
        return NotACheckpoint(source, "a text file", _READABLE)
    return NotACheckpoint(source, "of no format that is known, or its beginning is damaged", _READABLE, False)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character.isspace() for character in text)
