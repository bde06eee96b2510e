"""The files of a version as the clients of the Hub see them; those of weights are put together as they are read."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

from registry.attachments.files import PIECE, configuration, places_of
from registry.catalog.entry import Entry
from registry.catalog.file_digests import FileKey
from registry.checkpoints.documents import CARD
from registry.home.home import Home
from registry.loading.hub_folder import in_files, weights_file
from registry.loading.plan import FORMAT, plan
from registry.tensors.arguments import Arguments
from registry.tensors.dtypes import TOKENS
from registry.tensors.manifest import Manifest, StoredTensor
from registry.tensors.tag import TAG

from .pending import NewFile
from .uploads import KIND, UploadedFile, git_oid, uploaded

WEIGHTS = ".safetensors"
"""How the name of a file of weights ends."""
INDEX = ".safetensors.index.json"
"""How the name of an index ends, which says in which of several files each tensor is."""

CONFIG = "config.json"
"""What the mixin and the libraries make a model of."""

LARGEST_REGULAR = 10 << 20
"""Bytes up to which a file travels inside of a commit, and has git's digest; a larger one has a SHA-256."""


@dataclass(frozen=True)
class Stored:
    """A tensor's bytes as a part of a file."""

    entry: Entry
    name: str
    tensor: StoredTensor


@dataclass(frozen=True)
class OnDisk:
    """A file that was uploaded, and is in no version yet."""

    path: Path
    file: NewFile


Segment = bytes | Stored | OnDisk


def length_of(segment: Segment) -> int:
    """Return the bytes of a part of a file."""
    if isinstance(segment, bytes):
        return len(segment)
    return segment.file.size if isinstance(segment, OnDisk) else segment.tensor.spec.nbytes


@dataclass(frozen=True)
class HubFile:
    """One file of a repository."""

    path: str
    size: int
    segments: Sequence[Segment]
    """What it consists of, in order."""
    etag: str
    """What it is known by: the SHA-256 of one that has it, else what git would call it."""
    sha256: str | None = None
    """Of weights, and of what is too large for git, as soon as it is known."""
    key: FileKey | None = None
    """Of weights that are written anew: what decides their bytes."""
    is_made: bool = False
    """Whether it says what the version says otherwise, and is not kept as a file."""

    @property
    def oid(self) -> str:
        """40 hexadecimal digits that stand for the content."""
        return self.etag if len(self.etag) == 40 else hashlib.sha256(self.etag.encode()).hexdigest()[:40]

    def known_as(self, sha256: str | None) -> HubFile:
        """Return it with its SHA-256, where there is one."""
        return self if sha256 is None else replace(self, sha256=sha256, etag=sha256)


def plain(path: str, content: bytes) -> HubFile:
    """Return a file whose content is at hand."""
    file = HubFile(path, len(content), (content,), git_oid(content))
    return file if len(content) <= LARGEST_REGULAR else file.known_as(hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class VersionFiles:
    """The files of one version; those of weights as they are, and as they were uploaded."""

    files: Mapping[str, HubFile]
    as_uploaded: Mapping[str, HubFile]
    """The files of weights as they came, by path; the same ones, unless wrappers were taken out of the names."""
    indexes: Mapping[str, HubFile]
    """Indexes of files of weights that are not among the files, since their weights are in one."""
    weights: tuple[str, ...]
    """Paths of the files of weights, as they are read."""
    parameters: Mapping[str, int]
    """Elements by the dtypes' names in safetensors."""


def files_of(home: Home, entry: Entry) -> VersionFiles:
    """Return the files of a version, without its model's card.

    Raises:
        RegistryError: the version is not what was pushed.
    """
    manifest, config = home.manifest(entry), configuration(home, entry)
    files = {path: plain(path, text.encode()) for path, text in config.files.items()}
    if CONFIG not in files and (text := _arguments(entry)) is not None:
        files[CONFIG] = replace(plain(CONFIG, text.encode()), is_made=True)
    for kind in ("tokenizer", "files"):
        for path, tensor in places_of(home, entry, kind).items():
            files[path] = _kept(home, entry, path, tensor)
    files.pop(CARD, None)
    raw: dict[str, HubFile] = {}
    # Of one that somebody edited, nothing is believed; the weights are not in it.
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        came = uploaded(home.catalog.document(entry, KIND))
        raw = {path: _raw(path, file, entry, manifest) for path, file in came.items()}
    indexes = {path: file for path, file in files.items() if path.endswith(INDEX)}
    if raw and not entry.unwrapping.cuts:
        indexes = {}
        weights: list[HubFile] = list(raw.values())
    elif manifest.values:
        weights = []  # no safetensors file could hold them
    else:
        held = in_files(manifest, entry, config) if config.files else manifest
        weights = [_planned(weights_file(entry.builder), entry, held)]
    for path in indexes:
        del files[path]
    files.update({file.path: file for file in weights})
    return VersionFiles(
        dict(sorted(files.items())),
        raw,
        indexes,
        tuple(file.path for file in weights),
        _parameters(manifest),
    )


def _planned(path: str, entry: Entry, manifest: Manifest) -> HubFile:
    """Return the file that is written anew; its SHA-256 has to be computed."""
    planned = plan(manifest)
    ties = ""
    if manifest.ties:
        groups = json.dumps(sorted(sorted(group) for group in manifest.ties), separators=(",", ":"))
        ties = blake3(groups.encode()).hexdigest()
    key = FileKey(manifest.weights_digest, ties, FORMAT)
    etag = "-".join(filter(None, (key.weights, ties[:16], str(FORMAT))))
    tensors = [Stored(entry, name, tensor) for name, tensor in planned.tensors.items()]
    return HubFile(path, planned.size, (planned.header, *tensors), etag, key=key)


def _raw(path: str, file: UploadedFile, entry: Entry, manifest: Manifest) -> HubFile:
    """Return a file as it was uploaded."""
    segments: tuple[Segment, ...] = (
        file.header,
        *(each if isinstance(each, bytes) else Stored(entry, each, manifest.tensors[each]) for each in file.tensors),
    )
    return HubFile(path, sum(map(length_of, segments)), segments, file.sha256, file.sha256)


def _kept(home: Home, entry: Entry, path: str, tensor: StoredTensor) -> HubFile:
    """Return a file that is kept as bytes; equal ones are hashed once by a process."""
    size = tensor.spec.nbytes
    if (digests := _known.get(tensor.digest)) is None:
        git, sha256 = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), hashlib.sha256()
        for piece in home.pieces(entry, path, tensor, PIECE):
            git.update(piece)
            sha256.update(piece)
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        digests = _known[tensor.digest] = git.hexdigest(), sha256.hexdigest()
    file = HubFile(path, size, (Stored(entry, path, tensor),), digests[0])
    return file if size <= LARGEST_REGULAR else file.known_as(digests[1])


_known: dict[str, tuple[str, str]] = {}
"""Git's digest and the SHA-256 of files, by the digest of their bytes here."""
_MOST_KNOWN = 10_000


def _arguments(entry: Entry) -> str | None:
    """Return constructor arguments as a configuration, of which PyTorchModelHubMixin makes a model; None without."""
    raw = Arguments.of(entry.init).raw
    if not raw or TAG in raw or entry.init_as != "kwargs" or entry.builder is not None:
        return None
    return json.dumps(raw, indent=2)


def _parameters(manifest: Manifest) -> dict[str, int]:
    counts: dict[str, int] = {}
    again = {name for group in manifest.ties for name in group[1:]}
    for name, tensor in manifest.tensors.items():
        if name not in again:
            token = TOKENS[tensor.spec.dtype]
            counts[token] = counts.get(token, 0) + tensor.spec.numel
    return counts
