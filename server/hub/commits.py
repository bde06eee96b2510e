"""A commit: operations on the files of ``main``, which become a version, a card, or a tree that waits for weights."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from registry.catalog.entry import Entry
from registry.checkpoints.documents import CARD
from registry.errors.root import RegistryError
from registry.tensors.spec import is_digest

from ..answers import status_of
from . import admission
from .answers import Refusal
from .base import Base
from .files import LARGEST_REGULAR, HubFile, OnDisk
from .hub import Hub
from .intake import Intake, Tree
from .pending import NewFile, Pending
from .snapshots import commit_id
from .uploads import git_oid

_LONGEST_LINE = 16 << 20
"""Bytes of one operation; a file in it has a third less."""


@dataclass(frozen=True)
class Put:
    """A file, in the place of the one that is there."""

    path: str
    file: NewFile
    inline: Path | None = None
    """Where it is, if it came with the commit."""


@dataclass(frozen=True)
class Delete:
    """A file or a folder that goes."""

    path: str

    def hits(self, path: str) -> bool:
        return path == self.path or path.startswith(f"{self.path.rstrip('/')}/")


Operation = Put | Delete


@dataclass(frozen=True)
class Wanted:
    """What a commit is to be."""

    operations: Sequence[Operation]
    note: str = ""
    parent: str | None = None
    """The commit that ``main`` has to be."""


async def read(hub: Hub, name: str, request: Request, folder: Path) -> Wanted:
    """Read a commit line by line; each file in it goes to the disk before the next one is read.

    Args:
        folder: where they go.

    Raises:
        Refusal: it is none, or has what may not lie in a repository.
    """
    operations: list[Operation] = []
    note, parent = "", None
    async for line in _lines(request):
        if not line.strip():
            continue
        key, value = await run_in_threadpool(_operation, line)
        if key == "header":
            note = "\n\n".join(filter(None, (_text(value, "summary"), _text(value, "description"))))
            parent = _text(value, "parentCommit") or None
        else:
            operations.append(await run_in_threadpool(_read, hub, name, key, value, folder))
        if len(operations) > admission.MOST_FILES:
            raise Refusal(413, f"a commit has at most {admission.MOST_FILES} operations")
    return Wanted(operations, note[:5000], parent)


async def _lines(request: Request) -> AsyncIterator[bytes]:
    held: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        for number, part in enumerate(chunk.split(b"\n")):
            if number:
                yield b"".join(held)
                held, size = [], 0
            held.append(part)
            size += len(part)
            if size > _LONGEST_LINE:
                said = f"a line of the commit is longer than {_LONGEST_LINE} bytes; send large files by LFS"
                raise Refusal(413, said)
    yield b"".join(held)


def _operation(line: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "a line of the commit is not valid JSON") from error
    key, value = (found.get("key"), found.get("value")) if isinstance(found, dict) else (None, None)
    if not isinstance(key, str) or not isinstance(value, dict):
        raise Refusal(400, 'a line of the commit is not {"key": …, "value": {…}}')
    return key, value


def _read(hub: Hub, name: str, key: str, value: Mapping[str, Any], folder: Path) -> Operation:
    path = _text(value, "path").rstrip("/") if key.startswith("deleted") else _text(value, "path")
    if key in ("deletedFile", "deletedFolder"):
        return Delete(path)
    if key == "lfsFile":
        oid, size = value.get("oid"), value.get("size")
        if not is_digest(oid) or type(size) is not int:
            raise Refusal(400, f"'{path[:200]}' has no SHA-256 of 64 hexadecimal digits and no size")
        admission.check(path, size)
        return Put(path, NewFile(str(oid), _git_of(hub, name, str(oid), size), size))
    if key != "file":
        raise Refusal(400, f"'{key[:60]}' is not an operation of this server")
    try:
        content = base64.b64decode(_text(value, "content"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"the content of '{path[:200]}' is not valid base64") from error
    admission.check(path, len(content))
    if admission.is_pickled(path, content):
        raise admission.pickled(path)
    sha256 = hashlib.sha256(content).hexdigest()
    incoming = hub.staging.begin()
    try:
        incoming.write(content)
        incoming.move(folder / sha256)
    finally:
        incoming.close()
    return Put(path, NewFile(sha256, git_oid(content), len(content)), folder / sha256)


def _git_of(hub: Hub, name: str, oid: str, size: int) -> str:
    """Return what git would call an uploaded file; only of small ones, which may be compared by it."""
    if size > LARGEST_REGULAR or not hub.staging.has(name, oid, size):
        return ""
    return git_oid(hub.staging.object(name, oid).read_bytes())


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key, "")
    if not isinstance(found, str):
        raise Refusal(400, f"'{key}' in a line of the commit is not text")
    return found


def commit(hub: Hub, name: str, wanted: Wanted) -> str:
    """Carry a commit out, and return its id; of one that changes nothing, that of what is there.

    Raises:
        Refusal, RegistryError: it cannot be; nothing has changed.
    """
    puts = [each for each in wanted.operations if isinstance(each, Put)]
    with hub.staging.lock(name):
        for put in puts:
            if put.inline is not None and put.inline.exists():  # else it stands in the commit twice
                hub.staging.take(name, put.file.sha256, put.inline)
        keeps = False
        try:
            return _Commit(hub, name).carry_out(wanted)
        except Refusal as refusal:
            keeps = refusal.status == 412  # on another state it may go
            raise
        except RegistryError as error:
            keeps = status_of(error) >= 500
            raise
        finally:
            pending = hub.trees.of(name)
            waiting = {file.sha256 for file in pending.files.values()} if pending is not None else set()
            done = {put.file.sha256 for put in puts if put.inline is not None or not keeps}
            hub.staging.drop(name, done - waiting)


class _Commit:
    """One commit, while nobody else changes the model's files."""

    def __init__(self, hub: Hub, name: str) -> None:
        self._hub = hub
        self._name = name
        self._intake = Intake(hub.home, hub.staging)
        base = Base(hub, name)
        self._main, self._old, self._head = base.main, base.files, base.commit

    def carry_out(self, wanted: Wanted) -> str:
        new = dict(self._old)
        for operation in wanted.operations:
            if isinstance(operation, Delete):
                new = {path: file for path, file in new.items() if not operation.hits(path)}
            elif not _is_there(operation, new.get(operation.path)):
                new[operation.path] = self._put(operation)
        for path in admission.replaced(new, {each.path for each in wanted.operations if isinstance(each, Put)}):
            del new[path]
        changed = {path for path in {*new, *self._old} if new.get(path) is not self._old.get(path)}
        if not changed:
            return self._head
        if wanted.parent is not None and wanted.parent != self._head:
            raise Refusal(
                412, f"main is not {wanted.parent[:40]} any more, but {self._head}; fetch it and commit again"
            )
        if len(new) > admission.MOST_FILES:
            raise Refusal(400, f"a repository has at most {admission.MOST_FILES} files")
        return self._keep(Tree(self._name, new, wanted.note), changed)

    def _put(self, put: Put) -> HubFile:
        """Return a file that was uploaded, or is there under another path.

        Raises:
            Refusal: it is neither.
        """
        if self._hub.staging.has(self._name, put.file.sha256, put.file.size):
            return self._hub.snapshots.waiting(self._name, put.path, put.file)
        for file in self._old.values():
            if file.sha256 == put.file.sha256 and file.size == put.file.size:
                return replace(file, path=put.path)
        raise Refusal(400, f"'{put.path}' was not uploaded ({put.file.sha256}); upload it and commit again")

    def _keep(self, tree: Tree, changed: set[str]) -> str:
        if not admission.weights_are_whole(tree.files):
            if self._main is not None and not tree.of_kind("weights"):
                raise Refusal(
                    400, "a version has weights: they can be replaced, and not deleted; `registry rm` removes"
                )
            return self._wait(tree)
        card = self._card(tree)
        entry = self._version(tree, changed)
        if card != self._hub.home.catalog.card(entry.name):
            self._hub.home.database.set_card(entry.name, card or "")
        self._hub.trees.drop(self._name)
        self._hub.staging.drop(self._name, {file.sha256 for _, file in _new_files(tree)})
        return commit_id(entry, card)

    def _version(self, tree: Tree, changed: set[str]) -> Entry:
        """Return the version that has what decides what is loaded; a new one, unless the newest has it."""
        newest = self._main.entry if self._main is not None else None
        kinds = {admission.kind(path) for path in changed}
        if newest is not None and kinds <= {"card"}:
            return newest
        if newest is not None and not kinds & {"weights", "index"}:
            return self._intake.with_new_files(tree, newest)
        entry = self._intake.with_new_weights(tree, force_new=False)
        is_newest = newest is None or entry.version >= newest.version
        if entry.reused and not (is_newest and self._has_files(entry, tree)):
            entry = self._intake.with_new_weights(tree, force_new=True)
        return entry

    def _has_files(self, entry: Entry, tree: Tree) -> bool:
        """Whether a version has the files of a tree, beside its weights."""
        kinds = ("config", "tokenizer", "file")
        has = Tree(self._name, self._hub.snapshots.version_files(entry).files).of_kind(*kinds)
        return {p: f.etag for p, f in has.items()} == {p: f.etag for p, f in tree.of_kind(*kinds).items()}

    def _card(self, tree: Tree) -> str | None:
        if CARD not in tree.files:
            return None
        try:
            return self._intake.read(tree.files[CARD]).decode() or None
        except UnicodeDecodeError as error:
            raise Refusal(400, f"'{CARD}' is not text in UTF-8") from error

    def _wait(self, tree: Tree) -> str:
        """Keep a tree until its weights are whole."""
        waiting = dict(_new_files(tree))
        base = self._main.commit if self._main is not None else None
        kept = tuple(path for path in tree.files if path not in waiting)
        pending = Pending(self._name, base, waiting, kept)
        self._hub.trees.put(pending)
        return pending.commit


def _new_files(tree: Tree) -> Iterator[tuple[str, NewFile]]:
    """Yield what of a tree is in no version yet, by path."""
    for path, file in tree.files.items():
        for segment in file.segments:
            if isinstance(segment, OnDisk):
                yield path, segment.file


def _is_there(put: Put, old: HubFile | None) -> bool:
    """Whether a file is the one that is there already."""
    known = {old.sha256, old.etag} if old is not None else set()
    return put.file.sha256 in known or (put.file.git != "" and put.file.git in known)
