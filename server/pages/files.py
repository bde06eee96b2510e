"""What a version has beside its tensors, and what of it can be downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp

from registry.catalog.entry import Entry
from registry.checkpoints.documents import CARD
from registry.errors.exports import CannotExport
from registry.home.home import Home
from registry.loading.plan import FORMAT, plan
from registry.tensors.manifest import Manifest

from ..access import caller_of
from ..asking import asked
from ..hub.admission import kind as kind_of
from ..hub.content import Content
from ..hub.files import HubFile, Segment, Stored
from ..hub.hub import Hub
from ..service import service_of
from .rendering import file_url, version_url

AS_SAVED = "as-saved.safetensors"
"""The part of a version's address by which its weights are downloaded under the names of the file that was pushed."""

_KINDS = {"index": "index of the files of weights", "config": "configuration", "file": "file"}
_OTHERS = {
    "training": "training state: registry.resume goes on from it",
    "example": "an input and its output: registry load --verify outputs computes it again",
}


@dataclass(frozen=True)
class File:
    """A file of a version, as it is listed."""

    path: str
    kind: str
    size: int
    url: str
    is_made: bool = False
    """Whether it is written when it is asked for."""


@dataclass(frozen=True)
class Room:
    """What a version takes on the disk."""

    whole: int
    """Bytes of its tensors, each tied one once."""
    written: int
    """Bytes of those that were not stored when it was pushed."""

    @property
    def saved(self) -> int:
        return max(0, self.whole - self.written)


def context(request: Request, entry: Entry, manifest: Manifest) -> dict[str, Any]:
    """Return what the page of a version's files shows."""
    home = service_of(request).home
    return {
        "files": _files(request, entry),
        "as_saved": version_url(entry.ref, AS_SAVED) if _differs(entry) and not _keeps_out(entry, manifest) else None,
        "others": {each: _OTHERS[each] for each in entry.attachments if each in _OTHERS},
        "commands": _commands(entry),
        # What others stored before is theirs to know.
        "room": room(home, entry, manifest) if caller_of(request).sees_all else None,
    }


def room(home: Home, entry: Entry, manifest: Manifest) -> Room:
    """Return how much of a version was stored for it alone."""
    older = home.database.overview.from_older(entry)
    own = {each.digest: each.spec.nbytes for each in manifest.tensors.values() if each.location.blob not in older}
    return Room(entry.byte_count, sum(own.values()))


def _files(request: Request, entry: Entry) -> Sequence[File]:
    hub: Hub = request.app.state.hub
    kept = hub.snapshots.version_files(entry)
    listed = [
        File(
            path,
            "weights" if path in kept.weights else _KINDS.get(kind_of(path), kind_of(path)),
            file.size,
            file_url(entry.name, entry.version, path),
            file.is_made or file.key is not None,
        )
        for path, file in kept.files.items()
    ]
    if (card := hub.home.database.card(entry.name)) is not None:
        listed.append(File(CARD, "card", len(card.encode()), file_url(entry.name, entry.version, CARD)))
    return sorted(listed, key=lambda file: (file.kind != "weights", file.path))


def _differs(entry: Entry) -> bool:
    """Whether the names in the file that was pushed were others."""
    return bool(entry.unwrapping.cuts or entry.unwrapping.absent)


def _keeps_out(entry: Entry, manifest: Manifest) -> bool:
    """Whether the file had what no safetensors file holds, or what only torch writes."""
    return bool(manifest.values or manifest.wrappers or entry.unwrapping.own)


def _commands(entry: Entry) -> dict[str, str]:
    """Return how the version is written to files, by what for."""
    stem = entry.name.rpartition("/")[2]
    commands = {"for torch.load": f"registry export {entry.ref} {stem}.pth"}
    if _differs(entry):
        commands["for torch.load, as saved"] = f"registry export {entry.ref} {stem}.pth --format as-saved"
    if "config" in entry.attachments:
        commands["a folder for from_pretrained"] = f"registry export {entry.ref} {stem} --format hf"
    return commands


def as_saved(request: Request, ref: str) -> ASGIApp:
    """Answer with the weights under the names that they had in the file, or a range of that.

    Raises:
        CannotExport: there is something among them that no safetensors file holds.
    """
    home = service_of(request).home
    entry = asked(request).entry(ref)
    manifest = home.manifest(entry)
    if _keeps_out(entry, manifest):
        raise CannotExport(
            AS_SAVED,
            f"not everything in it is a tensor of the model; `registry export {entry.ref} FILE.pth --format as-saved` "
            "writes all of it",
        )
    absent = set(entry.unwrapping.absent)
    tensors = {name: stored for name, stored in manifest.tensors.items() if name not in absent}
    ties = (tuple(name for name in tie if name in tensors) for tie in manifest.ties)
    kept = replace(manifest, tensors=tensors, ties=tuple(tie for tie in ties if len(tie) > 1))
    planned = plan(kept, entry.unwrapping.wrapped)
    segments: list[Segment] = [planned.header]
    segments += [Stored(entry, name, stored) for name, stored in planned.tensors.items()]
    file = HubFile(AS_SAVED, planned.size, segments, f"{entry.record_digest}-{FORMAT}")
    called = f"{entry.name.rpartition('/')[2]}-v{entry.version}-{AS_SAVED}"
    headers = {
        "etag": f'"{file.etag}"',
        "content-type": "application/octet-stream",
        "content-disposition": f"attachment; filename={called}",
    }
    return Content(home, file, headers)
