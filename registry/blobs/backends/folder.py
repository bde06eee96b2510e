"""Objects in a folder, be it on a file server: laid out as a home's blobs are, so that it can be read as one."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from registry.blobs.files import StoreFolders, blob_files, digest_of, is_file, open_below
from registry.blobs.objects import Moved, ObjectBackend, StoredObject, unmoved
from registry.disk.folders import make_folder, sync_folder
from registry.disk.writing import write_at
from registry.tensors.spec import check_digest

_ABANDONED_SECONDS = 24 * 3600.0
"""After which an unfinished put is taken for a killed one."""


class FolderBackend(ObjectBackend):
    """Files, each renamed to its name when it is whole.

    Args:
        folder: is there; a disk that is not mounted is no empty one.
    """

    def __init__(self, folder: Path) -> None:
        self._places = StoreFolders(folder)

    def __str__(self) -> str:
        return str(self._places.home)

    def has(self, digest: str) -> bool:
        return is_file(self._path(digest))

    def stat(self, digest: str) -> StoredObject | None:
        path = self._path(digest)
        with contextlib.suppress(FileNotFoundError):
            if is_file(path):
                status = path.lstat()
                return StoredObject(digest, status.st_size, time.time() - status.st_mtime)
        return None

    def put(self, digest: str, path: Path) -> None:
        target, unfinished = self._path(digest), self._places.temporary / f"{uuid.uuid4().hex}.part"
        for folder in (self._places.temporary, self._places.blobs, target.parent):
            make_folder(folder)
        self._clear()
        try:
            with path.open("rb") as source, unfinished.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
                os.fchmod(file.fileno(), 0o444)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(target)
            sync_folder(target.parent)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def fetch(self, digest: str, path: Path) -> None:
        with self._opened(digest) as source, path.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def receive(self, digest: str, handle: int, moved: Moved = unmoved) -> None:
        at = 0
        with self._opened(digest) as source:
            os.ftruncate(handle, 0)
            while content := source.read(1 << 20):
                write_at(handle, memoryview(content), at)
                at += len(content)
                moved(len(content))

    def ranges(self, digest: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        with self._opened(digest) as source:
            found = [os.pread(source.fileno(), length, offset) for offset, length in wanted]
        if any(len(part) != length for part, (_, length) in zip(found, wanted, strict=True)):
            raise EOFError(digest)
        return found

    def list(self) -> Iterator[StoredObject]:
        for path in blob_files(self._places):
            digest = digest_of(path)
            if digest is not None and (found := self.stat(digest)) is not None:  # else deleted meanwhile
                yield found

    def delete(self, digest: str) -> None:
        self._path(digest).unlink(missing_ok=True)

    def set_aside(self, digest: str, *, keep: bool = False) -> str | None:
        path = self._path(digest)
        aside = self._places.quarantine / f"{path.name}.{uuid.uuid4().hex[:8]}"
        make_folder(self._places.quarantine)
        try:
            os.link(path, aside, follow_symlinks=False) if keep else path.rename(aside)
        except FileNotFoundError:
            return None
        sync_folder(self._places.quarantine)
        return aside.name

    def seconds_ahead(self) -> float:
        probe = self._places.temporary / f"{uuid.uuid4().hex}.part"
        make_folder(self._places.temporary)
        try:
            probe.touch()
            return probe.stat().st_mtime - time.time()
        finally:
            probe.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._places.blob(check_digest(digest))

    def _opened(self, digest: str) -> contextlib.AbstractContextManager[BinaryIO]:
        return os.fdopen(open_below(self._path(digest)), "rb")

    def _clear(self) -> None:
        """Remove what killed puts left behind."""
        for path in self._places.temporary.glob("*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()
