"""What clients uploaded and no version has yet: files by their SHA-256, in a folder of the home.

Nothing in it is believed before it is whole: a file has its name when all of it has come, was hashed on its way, and is
durable. What nobody committed within a day is deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from registry.blobs.backends.local import worded
from registry.disk.folders import is_at, make_folder, sync_folder
from registry.disk.writing import write_at
from registry.tensors.spec import check_digest

LIFETIME_SECONDS = 24 * 3600.0
"""How long what was uploaded waits for its commit."""
PIECE = 4 << 20
"""Bytes that are read and hashed at a time."""


class Staging:
    """The folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "hub"
        self.objects = self.folder / "objects"
        self.trees = self.folder / "trees"
        self._parts = self.folder / "parts"
        self._locks = self.folder / "locks"
        self._work = self.folder / "work"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            StoreUnwritable
        """
        with worded(self.folder):
            for folder in (self.folder, self.objects, self.trees, self._parts, self._locks, self._work):
                make_folder(folder)

    def object(self, model: str, sha256: str) -> Path:
        """Return where a model's file of this SHA-256 is, or would be; only digests become a part of the path.

        Each model has its own, so that what one commit is done with is not taken from another model's.
        """
        return self.objects / _digest(model) / check_digest(sha256)

    def has(self, model: str, sha256: str, size: int) -> bool:
        """Whether a file was uploaded."""
        try:
            return self.object(model, sha256).stat().st_size == size
        except OSError:
            return False

    def take(self, model: str, sha256: str, path: Path) -> None:
        """Move in a file that came with a commit.

        Raises:
            StoreUnwritable
        """
        to = self.object(model, sha256)
        with worded(self.folder):
            make_folder(to.parent)
            path.rename(to)
            sync_folder(to.parent)

    def is_spent(self, upload: str) -> bool:
        """Whether an upload was done."""
        return (self._parts / f"{upload}.spent").exists()

    def spend(self, upload: str) -> None:
        """Note that an upload was done, so that its addresses let nothing in any more."""
        self.prepare()
        with worded(self.folder):
            (self._parts / f"{upload}.spent").touch()

    def begin(self, name: str | None = None) -> Incoming:
        """Return a file to write what comes into; one of a name is gone on with.

        Raises:
            StoreUnwritable
        """
        self.prepare()
        return Incoming(self, self._parts / f"{name or uuid.uuid4().hex}.part", keep=name is not None)

    @contextlib.contextmanager
    def lock(self, model: str) -> Iterator[None]:
        """Let one at a time change a model's files, of all processes."""
        self.prepare()
        path = self._locks / _digest(model)
        with worded(self.folder):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def workplace(self) -> Iterator[Path]:
        """Give an empty folder, for as long as it is needed."""
        self.prepare()
        place = self._work / uuid.uuid4().hex
        with worded(self.folder):
            place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def sweep(self, needed: Collection[str], lifetime: float = LIFETIME_SECONDS) -> None:
        """Delete what waited in vain.

        Args:
            needed: SHA-256 of the files that stay, whatever their age.
        """
        before = time.time() - lifetime
        for path in (
            *self.objects.glob("*/*"),
            *(path for folder in (self._parts, self._work, self.trees) for path in folder.glob("*")),
        ):
            with contextlib.suppress(OSError):
                if path.name not in needed and path.lstat().st_mtime < before:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def drop(self, model: str, digests: Collection[str]) -> None:
        """Delete files that a version has now, or that none can have."""
        for digest in digests:
            with contextlib.suppress(OSError):
                self.object(model, digest).unlink()


class Finished(Exception):
    """What comes in parts is whole and kept, or thrown away: no part of it is written any more."""


class Incoming:
    """A file while it comes in; what is not finished is gone, unless it comes in parts."""

    def __init__(self, staging: Staging, path: Path, *, keep: bool) -> None:
        self._staging = staging
        self.path = path
        self._keep = keep
        self._hash = hashlib.sha256()
        self.size = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if keep else os.O_EXCL)
        with worded(path):
            self._handle = os.open(path, flags, 0o600)

    def write(self, content: bytes | memoryview) -> None:
        """Write and hash what came next.

        Raises:
            StoreUnwritable
        """
        self._hash.update(content)
        self.place(content, self.size)

    def place(self, content: bytes | memoryview, offset: int) -> None:
        """Write what belongs at a place; it is hashed at the end, with everything else.

        Raises:
            StoreUnwritable
            Finished: it came in parts, and another request is done with it.
        """
        with self._locked(fcntl.LOCK_SH) if self._keep else contextlib.nullcontext(), worded(self.path):
            write_at(self._handle, memoryview(content), offset)
        self.size = max(self.size, offset + len(content))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Have no part written meanwhile, so that what is hashed inside is what is kept.

        Raises:
            StoreUnwritable
            Finished: another request is done with it.
        """
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        with worded(self.path):
            fcntl.flock(self._handle, kind)
        try:
            with worded(self.path):
                is_mine = is_at(self._handle, self.path)
            if not is_mine:
                raise Finished
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def sha256(self) -> str:
        """Return the digest of what was written in order."""
        return self._hash.hexdigest()

    def read_sha256(self) -> tuple[str, int]:
        """Read all of it, and return its digest and its bytes."""
        digest, offset = hashlib.sha256(), 0
        with worded(self.path):
            while piece := os.pread(self._handle, PIECE, offset):
                digest.update(piece)
                offset += len(piece)
        return digest.hexdigest(), offset

    def finish(self, model: str, sha256: str) -> None:
        """Make it durable, as a model's file.

        Raises:
            StoreUnwritable
        """
        to = self._staging.object(model, sha256)
        with worded(to):
            make_folder(to.parent)
        self.move(to)

    def move(self, to: Path) -> None:
        """Make it durable under a name.

        Raises:
            StoreUnwritable
        """
        with worded(self.path):
            os.fsync(self._handle)
            self.path.rename(to)
            sync_folder(to.parent)
        self._keep = True

    def sync(self) -> None:
        """Make what was written so far durable.

        Raises:
            StoreUnwritable
        """
        with worded(self.path):
            os.fsync(self._handle)

    def close(self, *, discard: bool = False) -> None:
        """Let go of it; what is not finished, and does not come in parts, is deleted."""
        os.close(self._handle)
        if discard or not self._keep:
            self.path.unlink(missing_ok=True)


def _digest(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()
