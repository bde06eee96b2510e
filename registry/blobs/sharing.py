"""Whether a push may share a tensor that is stored already: not if its file is gone, cut, or changed since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from registry.blobs.files import StoreFolders, opened, viewed
from registry.blobs.verification import is_intact, is_unchanged
from registry.errors.root import RegistryError
from registry.tensors.manifest import Location, StoredTensor
from registry.tensors.spec import TensorSpec

Locate = Callable[[Iterable[str]], Mapping[str, Location]]


class Shares(Protocol):
    """What says which stored tensors one push may share."""

    @property
    def unsound(self) -> set[str]:
        """Blobs that were found missing or damaged."""

    def find(self, tensors: Sequence[tuple[str, TensorSpec]]) -> dict[str, Location]:
        """Return where those of the tensors are that may be shared, by digest."""


class Sharing(Shares):
    """Finds the stored tensors that one push may share.

    A file that is as its stamp says, by inode, size and times, was hashed as a whole since anybody wrote to it, and is
    believed. In any other, which was perhaps copied back from a backup, what is to be shared is hashed.
    """

    def __init__(self, places: StoreFolders, locate: Locate) -> None:
        self._places = places
        self._locate = locate
        self._sizes: dict[str, int | None] = {}
        """Of the files that are as their stamp says; None for the others."""
        self._unsound: set[str] = set()

    @property
    def unsound(self) -> set[str]:
        return self._unsound

    def find(self, tensors: Sequence[tuple[str, TensorSpec]]) -> dict[str, Location]:
        located = self._locate({digest for digest, _ in tensors})
        for digest, spec in tensors:
            location = located.get(digest)
            if (
                location is not None
                and location.blob not in self.unsound
                and not self._is_sound(digest, spec, location)
            ):
                self.unsound.add(location.blob)
        # All of a damaged file's tensors are written again: if it held nothing else, that makes the same file anew.
        return {digest: location for digest, location in located.items() if location.blob not in self.unsound}

    def _is_sound(self, digest: str, spec: TensorSpec, location: Location) -> bool:
        blob, end = location.blob, location.offset + spec.nbytes
        try:
            if blob not in self._sizes:
                with opened(self._places.blob(blob), blob) as (_, status):
                    self._sizes[blob] = status.st_size if is_unchanged(self._places, blob, status) else None
            size = self._sizes[blob]
            if size is not None:
                return end <= size
            with viewed(self._places.blob(blob), blob) as content, content[location.offset : end] as part:
                return len(part) == spec.nbytes and is_intact(StoredTensor(spec, digest, location), part)
        except RegistryError:
            return False
