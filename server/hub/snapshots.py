"""Revisions of a model: which version and which card each is.

A commit is a version together with a card, and its id follows from both. So the id that a client was given names the
same files for ever, a commit of a card alone has one of its own, and nothing has to be stored.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from registry.catalog.entry import Entry
from registry.catalog.trail import Only
from registry.checkpoints.documents import CARD
from registry.errors.catalog import NoLiveVersion, UnknownModel, UnknownVersion
from registry.home.home import Home
from registry.reference import Reference, parse

from .digests import FileHasher
from .files import LARGEST_REGULAR, WEIGHTS, HubFile, OnDisk, VersionFiles, files_of, plain
from .pending import NewFile, Pending, PendingTrees
from .routes import MAIN
from .staging import Staging
from .uploads import KIND, uploaded

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NEWEST = (MAIN, "HEAD", "refs/heads/main")
_TAG = "refs/tags/"
_MOST_HELD = 32
"""Versions whose files are held in memory."""
_MOST_COMMITS = 10_000


@dataclass(frozen=True)
class Snapshot:
    """A version with a card: what a commit of the Hub is."""

    entry: Entry
    card: str | None
    sha256: str | None = None
    """Of a file of weights that is asked for as it was uploaded."""

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def commit(self) -> str:
        """Its id."""
        return commit_id(self.entry, self.card)


Revision = Snapshot | Pending
"""What ``main`` may be: before there are whole weights, a tree that waits for them."""


@dataclass(frozen=True)
class Commit:
    """One line of a model's history."""

    snapshot: Snapshot
    title: str
    author: str
    at: datetime


def commit_id(entry: Entry, card: str | None) -> str:
    """Return 40 hexadecimal digits for a version and a card; two versions of equal weights have two."""
    said = hashlib.sha256(card.encode()).hexdigest() if card is not None else ""
    return hashlib.sha256(f"{entry.seal}\n{said}".encode()).hexdigest()[:40]


class Snapshots:
    """The revisions of a home's models, and their files."""

    def __init__(self, home: Home, hasher: FileHasher, staging: Staging, trees: PendingTrees) -> None:
        self._home = home
        self._staging = staging
        self._trees = trees
        self._hasher = hasher
        self._lock = threading.Lock()
        self._files: OrderedDict[str, VersionFiles] = OrderedDict()
        """By the versions' seals."""
        self._commits: OrderedDict[tuple[str, str], tuple[int, str | None]] = OrderedDict()
        """Version and card, by the model's uid and the commit."""

    def newest(self, name: str) -> Snapshot:
        """Return what ``main`` is.

        Raises:
            InvalidModelName, UnknownModel, NoLiveVersion
        """
        entry = self._home.resolve(Reference(name))
        return Snapshot(entry, self._home.catalog.card(entry.name))

    def main(self, name: str) -> Revision:
        """Return what ``main`` is: the newest version, or the tree that waits for the first.

        Raises:
            InvalidModelName, UnknownModel, NoLiveVersion: there is neither.
        """
        try:
            return self.newest(name)
        except (UnknownModel, NoLiveVersion):
            if (pending := self._trees.of(name)) is None:
                raise
            return pending

    def at(self, name: str, revision: str) -> Revision:
        """Return what a revision is: ``main``, ``vN``, an alias, a commit, or the SHA-256 of an uploaded file.

        Raises:
            InvalidModelName, UnknownModel, NoLiveVersion: there is no such model.
            UnknownVersion, TrashedVersion, PurgedVersion, InvalidAlias: it has no such revision.
        """
        newest = self.main(name)
        if isinstance(newest, Pending):
            if revision in (*_NEWEST, newest.commit):
                return newest
            raise UnknownVersion(f"{name}:{revision}", f"{name} has no version yet", ())
        if revision in (*_NEWEST, newest.commit):
            return newest
        word = revision.removeprefix(_TAG)
        if _COMMIT.fullmatch(word) and (found := self._of_commit(newest, word)) is not None:
            return found
        if _SHA256.fullmatch(word) and (found := self._of_upload(newest, word)) is not None:
            return found
        if ":" in word or "@" in word:
            raise UnknownVersion(f"{newest.name}:{word}", f"{newest.name} has no such revision", ())
        return replace(newest, entry=self._home.resolve(parse(f"{newest.name}:{word}")))

    def files(self, snapshot: Revision, *, as_uploaded: bool = False) -> dict[str, HubFile]:
        """Return the files of a revision by path.

        Args:
            as_uploaded: those of weights as they came, where they were uploaded.

        Raises:
            RegistryError: the version is not what was pushed.
        """
        if isinstance(snapshot, Pending):
            return {path: self.waiting(snapshot.name, path, file) for path, file in sorted(snapshot.files.items())}
        version = self.version_files(snapshot.entry)
        files = dict(version.files)
        if snapshot.card is not None:
            files[CARD] = plain(CARD, snapshot.card.encode())
        for path in version.weights:
            files[path] = self._hasher.known(files[path])
        if snapshot.sha256 is not None or as_uploaded:
            files = self._as_uploaded(version, files)
        return dict(sorted(files.items()))

    def _as_uploaded(self, version: VersionFiles, files: dict[str, HubFile]) -> dict[str, HubFile]:
        if not version.as_uploaded:
            return files
        files = {path: file for path, file in files.items() if path not in version.weights}
        return {**files, **version.as_uploaded, **version.indexes}

    def waiting(self, model: str, path: str, file: NewFile) -> HubFile:
        """Return a file that was uploaded and is in no version yet."""
        is_large = file.size > LARGEST_REGULAR or path.endswith(WEIGHTS)
        where = OnDisk(self._staging.object(model, file.sha256), file)
        return HubFile(path, file.size, (where,), file.git).known_as(file.sha256 if is_large else None)

    def version_files(self, entry: Entry) -> VersionFiles:
        """Return the files of a version, from memory where they were asked for lately."""
        with self._lock:
            if (found := self._files.get(entry.seal)) is not None:
                self._files.move_to_end(entry.seal)
                return found
        found = files_of(self._home, entry)
        with self._lock:
            self._files[entry.seal] = found
            while len(self._files) > _MOST_HELD:
                self._files.popitem(last=False)
        return found

    def forget(self) -> None:
        """Forget where the files of versions lie: a repair may have moved them."""
        with self._lock:
            self._files.clear()

    def history(self, name: str, snapshot: Snapshot) -> list[Commit]:
        """Return the commits up to a snapshot, newest first."""
        changes: list[tuple[datetime, Entry | None, str | None, str]] = [
            (entry.created_at, entry, None, entry.creator)
            for entry in self._home.catalog.entries(name)
            if entry.version <= snapshot.entry.version
        ]
        changes += [(at, None, card, actor) for at, card, actor in self._cards(name)]
        commits: list[Commit] = []
        newest: Entry | None = None
        card: str | None = None
        for at, entry, text, author in sorted(changes, key=lambda change: (change[0], change[1] is None)):
            if entry is None:
                card = text
            elif newest is None or entry.version > newest.version:
                newest = entry
            else:
                continue
            if newest is not None:
                title = f"Update {CARD}" if entry is None else next(iter(entry.note.splitlines()), "") or entry.ref
                commits.append(Commit(Snapshot(newest, card), title, author, at))
        commits.reverse()
        # What came with a copy has times of another home; the last line is what is there now in any case.
        if not commits or commits[0].snapshot.commit != snapshot.commit:
            now = Commit(snapshot, snapshot.entry.ref, snapshot.entry.creator, snapshot.entry.created_at)
            commits = [now, *(each for each in commits if each.snapshot.commit != snapshot.commit)]
        return list({each.snapshot.commit: each for each in commits}.values())

    def _cards(self, name: str) -> Iterator[tuple[datetime, str | None, str]]:
        for event in self._home.database.events(name, only=Only(verb="card")):
            card = event.details.get("card")
            yield event.at, card if isinstance(card, str) else None, event.actor

    def _of_commit(self, newest: Snapshot, commit: str) -> Snapshot | None:
        key = newest.entry.uid, commit
        with self._lock:
            found = self._commits.get(key)
        if found is None:
            cards = dict.fromkeys([newest.card, None, *(card for _, card, _ in self._cards(newest.name))])
            entries = self._home.catalog.entries(newest.name)
            pairs = ((entry, card) for entry in entries for card in cards)
            match = next(((e.version, c) for e, c in pairs if commit_id(e, c) == commit), None)
            if match is None:
                return None
            found = match
            with self._lock:
                self._commits[key] = found
                while len(self._commits) > _MOST_COMMITS:
                    self._commits.popitem(last=False)
        return Snapshot(self._home.resolve(Reference(newest.name, version=found[0])), found[1])

    def _of_upload(self, newest: Snapshot, sha256: str) -> Snapshot | None:
        for number, body in self._home.database.documents_of(newest.name, KIND).items():
            if any(file.sha256 == sha256 for file in uploaded(body).values()):
                entry = self._home.resolve(Reference(newest.name, version=number))
                return replace(newest, entry=entry, sha256=sha256)
        return None
