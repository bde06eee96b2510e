"""Files beside the weights, by the path in their folder: configurations as texts, all others as bytes.

Such a file is stored as a tensor of its bytes, so that equal ones are stored once, are verified as weights are,
and are collected with the last version that needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.attachments.attachment import Attachment, values_of
from registry.checkpoints.documents import is_plain_path
from registry.errors.libraries import UnsafePath
from registry.tensors.source import TensorBytes
from registry.tensors.spec import TensorSpec

if TYPE_CHECKING:
    from registry.catalog.entry import Entry
    from registry.checkpoints.documents import Documents
    from registry.home.home import Home
    from registry.tensors.manifest import StoredTensor

PIECE = 8 << 20
"""Bytes read at a time."""


def attach_files(documents: Documents) -> dict[str, Attachment]:
    """Return the attachments of the files in a folder, by kind; none of a kind that it does not have.

    Raises:
        ChangedCheckpoint, UnopenableCheckpoint: a file cannot be read any more.
    """
    found: dict[str, Attachment] = {}
    if documents.config:
        names = {"names": dict(documents.names)} if documents.names else {}
        found["config"] = Attachment(values={"files": dict(documents.config), **names})
    if documents.tokenizer:
        found["tokenizer"] = Attachment({name: as_tensor(span.read()) for name, span in documents.tokenizer.items()})
    return found


def as_tensor(content: bytes) -> TensorBytes:
    return TensorBytes(TensorSpec("uint8", (len(content),)), memoryview(content))


def check_path(ref: str, path: str) -> str:
    """Return the path of a stored file if it leads to a place inside of the folder that it is written to.

    Raises:
        UnsafePath: whoever made the version meant it to lead elsewhere.
    """
    if not is_plain_path(path):
        raise UnsafePath(ref, path)
    return path


@dataclass(frozen=True)
class Configuration:
    """What a version's library makes its model of, and how it calls its tensors."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Texts by path."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Of tensors in the library's own files, by canonical name, where that is something else."""


def configuration(home: Home, entry: Entry) -> Configuration:
    """Return the configurations of a version; without any, none. torch is not needed.

    Raises:
        UnsafePath: a path leads out of the folder.
        ChangedVersion: the version's row is not what was pushed.
    """
    home.manifest(entry)  # compares what is under the record, the documents too
    document = home.document(entry, "config")
    if document is None:
        return Configuration()
    values = values_of(document)
    files = {check_path(entry.ref, path): str(text) for path, text in values.get("files", {}).items()}
    return Configuration(files, {str(name): str(own) for name, own in values.get("names", {}).items()})


def places_of(home: Home, entry: Entry, kind: str) -> Mapping[str, StoredTensor]:
    """Return where the files of a kind lie that are kept as bytes, by path; without any, none.

    Raises:
        UnsafePath: a path leads out of the folder.
    """
    document = home.document(entry, kind)
    if document is None:
        return {}
    return {check_path(entry.ref, name): tensor for name, tensor in document.tensors.items()}


def stored_files(home: Home, entry: Entry, kind: str) -> Mapping[str, bytes]:
    """Return the files of a kind, ``tokenizer`` or ``files``, by path, verified; without any, none.

    Raises:
        UnsafePath: a path leads out of the folder.
        RegistryError: their bytes are not what was stored.
    """
    return {
        name: b"".join(home.pieces(entry, name, tensor, PIECE)) for name, tensor in places_of(home, entry, kind).items()
    }
