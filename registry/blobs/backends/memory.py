"""Objects in the memory of one process, gone with it."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from registry.blobs.objects import Moved, ObjectBackend, StoredObject, unmoved
from registry.disk.writing import write_at
from registry.tensors.spec import check_digest


class MemoryBackend(ObjectBackend):
    """A dictionary; threads may share one."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._quarantine: dict[str, bytes] = {}

    def __str__(self) -> str:
        return "memory"

    def has(self, digest: str) -> bool:
        return check_digest(digest) in self._objects

    def stat(self, digest: str) -> StoredObject | None:
        if not self.has(digest):
            return None
        content, at = self._objects[digest]
        return StoredObject(digest, len(content), time.monotonic() - at)

    def put(self, digest: str, path: Path) -> None:
        self._objects[check_digest(digest)] = path.read_bytes(), time.monotonic()

    def fetch(self, digest: str, path: Path) -> None:
        content = self._content(digest)
        with path.open("xb") as file:
            file.write(content)

    def receive(self, digest: str, handle: int, moved: Moved = unmoved) -> None:
        content = self._content(digest)
        os.ftruncate(handle, 0)
        write_at(handle, memoryview(content), 0)
        moved(len(content))

    def ranges(self, digest: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        content = self._content(digest)
        if any(offset + length > len(content) for offset, length in wanted):
            raise EOFError(digest)
        return [content[offset : offset + length] for offset, length in wanted]

    def list(self) -> Iterator[StoredObject]:
        now = time.monotonic()
        for digest, (content, at) in list(self._objects.items()):
            yield StoredObject(digest, len(content), now - at)

    def delete(self, digest: str) -> None:
        self._objects.pop(check_digest(digest), None)

    def set_aside(self, digest: str, *, keep: bool = False) -> str | None:
        if not self.has(digest):
            return None
        name = f"{digest}.safetensors.{uuid.uuid4().hex[:8]}"
        self._quarantine[name] = self._objects[digest][0]
        if not keep:
            self.delete(digest)
        return name

    def seconds_ahead(self) -> float:
        return 0.0

    def _content(self, digest: str) -> bytes:
        if not self.has(digest):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), digest)
        return self._objects[digest][0]
