"""A committed tree becomes a version: inspected as a push is, before anything of it is visible."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from registry.attachments.attachment import Attachment
from registry.attachments.files import as_tensor
from registry.blobs.backends.local import worded
from registry.catalog.entry import Entry
from registry.checkpoints.documents import Documents, is_json
from registry.checkpoints.folders import SINGLE
from registry.checkpoints.opening import open_checkpoint
from registry.errors.root import RegistryError
from registry.home.home import Home
from registry.inspection import Inspection, Question, examine
from registry.pushing.beside import store_beside
from registry.pushing.request import Prepared, PushRequest
from registry.pushing.storing import store
from registry.tensors.safetensors import read_header

from ..answers import status_of
from . import uploads
from .admission import kind
from .answers import Refusal
from .content import pieces
from .files import HubFile, OnDisk
from .staging import Staging

_QUESTION = Question(builds=False)
"""The server makes no model: what a class would say, a load finds out."""
_NO_JOB = timedelta(minutes=1)


@dataclass(frozen=True)
class Tree:
    """All files of a repository after a commit, by path."""

    name: str
    files: Mapping[str, HubFile]
    note: str = ""

    def of_kind(self, *kinds: str) -> dict[str, HubFile]:
        """Return the files of some kinds."""
        return {path: file for path, file in self.files.items() if kind(path) in kinds}


class Intake:
    """Makes versions of a home."""

    def __init__(self, home: Home, staging: Staging) -> None:
        self._home = home
        self._staging = staging

    def read(self, file: HubFile) -> bytes:
        """Return a small file's content."""
        return b"".join(pieces(self._home, file))

    def with_new_weights(self, tree: Tree, *, force_new: bool) -> Entry:
        """Store a tree whose weights were uploaded. The name's version that is the same, if there is one, is returned.

        Raises:
            RegistryError: they cannot be read, or their names not be decided; nothing was stored.
        """
        weights = tree.of_kind("weights")
        with self._folder(tree, weights) as folder, _worded(folder, tree.name):
            config, others = self._beside(tree.files)
            checkpoint = open_checkpoint(folder)
            documents = Documents(config=config)
            first = min(weights)
            checkpoint = replace(checkpoint, source=first, path=Path(first), documents=documents, notes=())
            inspection = examine(folder, _QUESTION, checkpoint).accounted()
            attachments = {**others, uploads.KIND: uploads.attach(self._as_they_came(folder, weights, inspection))}
            if config:
                attachments["config"] = Attachment(values={"files": config})
            request = PushRequest(folder, tree.name, _QUESTION, _NO_JOB, note=tree.note, force_new=force_new)
            return store(self._home, request, Prepared(tree.name, inspection, attachments, None, None))

    def with_new_files(self, tree: Tree, newest: Entry) -> Entry:
        """Store a tree that has the newest version's weights and other files; no tensor of them is read.

        Raises:
            RegistryError: nothing was stored.
        """
        config, others = self._beside({path: file for path, file in tree.files.items() if not file.is_made})
        return store_beside(self._home, newest, config, others, note=tree.note, kept=(uploads.KIND,))

    def _beside(self, files: Mapping[str, HubFile]) -> tuple[dict[str, str], dict[str, Attachment]]:
        """Return configurations as texts, and attachments of all other files but the weights and the card."""
        config: dict[str, str] = {}
        others: dict[str, dict[str, bytes]] = {"tokenizer": {}, "files": {}}
        for path, file in files.items():
            what = kind(path)
            if what in ("weights", "card"):
                continue
            content = self.read(file)
            if what == "config" and (text := _json(content)) is not None:
                config[path] = text
            else:
                others["tokenizer" if what == "tokenizer" else "files"][path] = content
        return config, {
            each: Attachment({path: as_tensor(content) for path, content in found.items()})
            for each, found in others.items()
            if found
        }

    @contextmanager
    def _folder(self, tree: Tree, weights: Mapping[str, HubFile]) -> Iterator[Path]:
        """Give a folder that has the weights and their index; what was uploaded is linked, and read where it lies."""
        index = tree.of_kind("index") if len(weights) > 1 else {}
        with self._staging.workplace() as folder, worded(folder):
            for path, file in {**weights, **index}.items():
                place = folder / (path if index or path in SINGLE else SINGLE[0])
                whole = file.segments[0]
                if isinstance(whole, OnDisk):
                    os.link(whole.path, place)
                else:
                    with place.open("xb") as out:
                        out.writelines(pieces(self._home, file))
            yield folder

    def _as_they_came(
        self, folder: Path, weights: Mapping[str, HubFile], inspection: Inspection
    ) -> dict[str, uploads.UploadedFile]:
        """Return the headers of the files, with what follows them by canonical names."""
        canonical = inspection.form.tensors
        found = {}
        for path, file in weights.items():
            place = folder / (path if (folder / path).exists() else SINGLE[0])
            with place.open("rb") as opened:
                length = opened.read(8)
                header = length + opened.read(int.from_bytes(length, "little"))
                extents, _ = read_header(header[8:])
                parts: list[str | bytes] = []
                for extent in sorted(extents, key=lambda each: (each.offset, each.end)):
                    if extent.key in canonical:
                        parts.append(canonical[extent.key])
                    else:  # a wrapper's own, of a few bytes
                        opened.seek(len(header) + extent.offset)
                        parts.append(opened.read(extent.spec.nbytes))
            assert file.sha256 is not None
            found[path] = uploads.UploadedFile(file.sha256, header, parts)
        return found


@contextmanager
def _worded(folder: Path, name: str) -> Iterator[None]:
    """Call the files by their names in the repository, where an error names them."""
    try:
        yield
    except RegistryError as error:
        if status_of(error) >= 500:
            raise
        said = str(error).replace(f"{folder}/", "").replace(str(folder), name)
        raise Refusal(status_of(error), said) from error


def _json(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if is_json(text) else None
