"""What a file or a folder is, before anything is stored: read as a push reads it, and let go again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from blake3 import blake3

from registry.attachments.training.file import attach_file
from registry.checkpoints.groups import can_be_weight
from registry.checkpoints.inventory import bears_tensors
from registry.checkpoints.mapping import OpenedFile
from registry.checkpoints.opening import read_file
from registry.checkpoints.tensors import FileTensor
from registry.errors.checkpoints import (
    DamagedCheckpoint,
    EmptyCheckpoint,
    ForeignObjects,
    MissingShard,
    NoSuchCheckpoint,
    NotACheckpoint,
    OneShard,
    PartOfModel,
    ShardedTensors,
    UnopenableCheckpoint,
    ZeroShards,
)
from registry.errors.intake import ChangedCheckpoint
from registry.errors.root import RegistryError
from registry.importing.found_metrics import found_metrics
from registry.importing.report import Verdict
from registry.inspection import Inspection, Question, examine
from registry.pushing.provenance import SourceDigest, published_at, saved_at, source_files
from registry.reference import CHECKPOINT_SUFFIXES
from registry.tensors.source import TensorSource
from registry.tensors.spec import TensorSpec, tensor_digest, weights_digest

Shapes = Mapping[str, tuple[int, ...]]

QUESTION = Question(builds=False)
"""What is asked of every file: nothing is declared, and nothing is built."""

_TORCHS = tuple(suffix for suffix in CHECKPOINT_SUFFIXES if suffix not in (".bin", ".tar"))
"""Suffixes that nothing but a checkpoint has."""
_PARTS = (OneShard, PartOfModel, ShardedTensors, ZeroShards)
_SAMPLE = 64
"""Bytes at the beginning of a tensor that are looked at to tell it from another."""


@dataclass(frozen=True, kw_only=True)
class Recognized:
    """A file or folder, and what it is."""

    place: Path
    path: str
    """From the folder that is imported."""
    verdict: Verdict
    """``new`` for a checkpoint that a push would take."""
    reason: str = ""
    code: str | None = None
    is_part: bool = False
    """Whether it is a piece of something that is to be taken as a whole."""
    files: tuple[Path, ...] = ()
    """What it was read from."""
    signature: str = ""
    """Digest of the canonical names and shapes."""
    shapes: Shapes = field(default_factory=dict)
    """By canonical name."""
    likeness: str = ""
    """Digest of names, dtypes, shapes and the beginnings of the values, if they were looked at: where it differs, so do
    the weights."""
    is_more: bool = False
    """Whether the state of a training or configurations are kept beside the weights, if that was looked at."""
    byte_count: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    modified: int = 0
    """When the newest of its files was written, in nanoseconds since 1970."""
    saved_at: str | None = None
    source_uri: str | None = None


def recognize(place: Path, path: str, *, closely: bool = False) -> Recognized:
    """Say what a file or folder is; nothing is built, and of most formats the headers alone are read.

    Args:
        closely: look at the beginnings of the values, too.
    """
    try:
        inspection = examine(place, QUESTION)
        files = source_files(inspection.checkpoint)
        tensors = inspection.tensors
        likeness = _likeness(tensors) if closely else ""
        is_more = closely and _has_more(inspection)
    except RegistryError as error:
        return refused(Recognized(place=place, path=path, verdict="new"), error)
    if not any(map(can_be_weight, tensors.values())):
        return unread(place, path, "no weights", "tensors of whole numbers or of one number alone")
    shapes = {name: tensor.spec.shape for name, tensor in tensors.items()}
    return Recognized(
        place=place,
        path=path,
        verdict="new",
        files=tuple(file.path for file in files),
        signature=signature_of(shapes),
        shapes=shapes,
        likeness=likeness,
        is_more=is_more,
        byte_count=sum({tensor.identity: tensor.spec.nbytes for tensor in tensors.values()}.values()),
        metrics=found_metrics(inspection.checkpoint, inspection.weights),
        modified=max((file.modified for file in inspection.checkpoint.files), default=0),
        saved_at=saved_at(inspection.checkpoint.files),
        source_uri=published_at(place),
    )


def _has_more(inspection: Inspection) -> bool:
    checkpoint = inspection.checkpoint
    if inspection.documents.config or inspection.documents.tokenizer:
        return True
    return bool(checkpoint.training) and attach_file(inspection).attachment is not None


def signature_of(shapes: Shapes) -> str:
    """Return the digest of names and shapes, in any order."""
    lines = sorted(f"{len(name)}:{name}:{list(shape)}\n" for name, shape in shapes.items())
    return blake3("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def source_digest(found: Recognized) -> str | None:
    """Return the digest of its files, as a push records it.

    Raises:
        RegistryError: they cannot be read to their end.
    """
    return SourceDigest([OpenedFile(place) for place in found.files]).result()


def digest_of_weights(found: Recognized) -> str:
    """Read all of a checkpoint, and return the digest that its weights have as a version.

    Raises:
        RegistryError: it cannot be read to its end.
    """
    inspection: Inspection = examine(found.place, QUESTION)
    digests: dict[object, str] = {}

    def parts() -> Iterable[tuple[str, TensorSpec, str]]:
        for name, tensor in inspection.tensors.items():
            if tensor.identity not in digests:
                digests[tensor.identity] = tensor_digest(tensor.spec, tensor.pieces(own=False))
            yield name, tensor.spec, digests[tensor.identity]

    return weights_digest(parts())


def refused(found: Recognized, error: RegistryError) -> Recognized:
    """Return what could not be taken, with the reason."""
    return replace(
        found,
        verdict=_verdict(error, found.place),
        reason=_reason(error, found.place),
        code=error.code,
        is_part=isinstance(error, _PARTS) or found.place.suffix == ".distcp",
    )


def unread(place: Path, path: str, verdict: Verdict, reason: str) -> Recognized:
    """Return what was not looked into."""
    return Recognized(place=place, path=path, verdict=verdict, reason=reason)


def _verdict(error: RegistryError, place: Path) -> Verdict:
    if isinstance(error, NotACheckpoint):
        if error.stands_for:
            return "refused"
        # Bytes that say nothing, in a file that is named like a checkpoint, were one.
        is_named = place.suffix.lower() in _TORCHS
        return "damaged" if is_named and not error.is_something else "no checkpoint"
    if isinstance(error, EmptyCheckpoint) or (isinstance(error, ForeignObjects) and not _bears_tensors(place)):
        return "no weights"
    if isinstance(error, (DamagedCheckpoint, MissingShard, ChangedCheckpoint)):
        return "damaged"
    return "unreadable" if isinstance(error, (NoSuchCheckpoint, UnopenableCheckpoint)) else "refused"


def _bears_tensors(place: Path) -> bool:
    """Whether there is a tensor in a file, inside of the objects that are not read, too."""
    try:
        return place.is_dir() or bears_tensors(read_file(place))
    except RegistryError:
        return True


def _reason(error: RegistryError, place: Path) -> str:
    """Return an error's sentence without the path that it begins with, which stands beside it."""
    if isinstance(error, EmptyCheckpoint):
        return error.found
    if isinstance(error, NotACheckpoint):
        return f"{error.what}; {error.remedy}" if error.stands_for else error.what
    for begin in (f"{place}: ", f"{place} "):
        if str(error).startswith(begin):
            return str(error).removeprefix(begin)
    return str(error)


def _likeness(tensors: Mapping[str, TensorSource]) -> str:
    digest = blake3()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{len(name)}:{name}:{tensor.spec}:".encode("utf-8", "surrogatepass"))
        digest.update(_beginning(tensor))
    return digest.hexdigest()


def _beginning(tensor: TensorSource) -> bytes:
    if isinstance(tensor, FileTensor) and tensor.is_streamed and tensor.storage.content is not None:
        return tensor.storage.content.read(tensor.start, min(tensor.end, tensor.start + _SAMPLE))
    return bytes(tensor.buffer()[:_SAMPLE])
