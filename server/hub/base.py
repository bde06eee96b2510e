"""What is changed in a model: the newest version, and the tree on it that waits for weights."""

from __future__ import annotations

from collections.abc import Mapping

from .files import HubFile
from .hub import Hub
from .pending import Pending
from .snapshots import Snapshot


class Base:
    """What a commit is on: the newest version, and the tree on it that waits for weights."""

    def __init__(self, hub: Hub, name: str) -> None:
        main = hub.snapshots.main(name)
        self.main = main if isinstance(main, Snapshot) else None
        self.pending = main if isinstance(main, Pending) else hub.trees.of(name)
        if self.main is not None and self.pending is not None and self.pending.base != self.main.commit:
            self.pending = None  # it was on another version
        files = hub.snapshots.files(self.main, as_uploaded=True) if self.main is not None else {}
        if self.pending is not None:
            kept = {path: files[path] for path in self.pending.kept if path in files}
            files = {**kept, **hub.snapshots.files(self.pending)}
        self.files: Mapping[str, HubFile] = files
        """By path; of what was uploaded, the files as they came."""

    @property
    def commit(self) -> str:
        """Its id."""
        if self.pending is not None:
            return self.pending.commit
        assert self.main is not None
        return self.main.commit
