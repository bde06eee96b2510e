"""What was committed to a model that has no whole weights yet: files that wait for them, for a day."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from registry.blobs.backends.local import worded

from .staging import LIFETIME_SECONDS, Staging


@dataclass(frozen=True)
class NewFile:
    """A file that was uploaded, and is in the staging folder."""

    sha256: str
    git: str
    """What git calls it."""
    size: int


@dataclass(frozen=True)
class Pending:
    """A tree without a version."""

    name: str
    base: str | None = None
    """The commit that it is on; None of a model without versions."""
    files: Mapping[str, NewFile] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    """Paths of what it has of the base."""

    @property
    def commit(self) -> str:
        """Its id."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:40]

    def _text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def encode(self) -> bytes:
        return self._text().encode()

    @classmethod
    def decode(cls, text: bytes) -> Pending:
        raw = json.loads(text)
        files = {path: NewFile(**file) for path, file in raw["files"].items()}
        return cls(raw["name"], raw["base"], files, tuple(raw["kept"]))


class PendingTrees:
    """The pending trees of a home, one a model at most."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    def of(self, name: str) -> Pending | None:
        """Return a model's, or None; one that is older than a day is none."""
        path = self._path(name)
        try:
            if path.stat().st_mtime < time.time() - LIFETIME_SECONDS:
                return None
            found = Pending.decode(path.read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found.name == name else None

    def put(self, tree: Pending) -> None:
        """Keep one in the place of the one that was there.

        Raises:
            StoreUnwritable
        """
        incoming = self._staging.begin()
        try:
            incoming.write(tree.encode())
            incoming.move(self._path(tree.name))
        finally:
            incoming.close()

    def drop(self, name: str) -> None:
        """Forget a model's."""
        with worded(self._staging.folder):
            self._path(name).unlink(missing_ok=True)

    def needed(self) -> set[str]:
        """Return the SHA-256 of the files that pending trees have."""
        found: set[str] = set()
        before = time.time() - LIFETIME_SECONDS
        for path in self._staging.trees.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if path.stat().st_mtime >= before:
                    found.update(file.sha256 for file in Pending.decode(path.read_bytes()).files.values())
        return found

    def _path(self, name: str) -> Path:
        return self._staging.trees / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
