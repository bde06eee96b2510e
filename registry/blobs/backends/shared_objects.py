"""Whether a push may share a tensor that is in an object: not if that is gone, or cut."""

from __future__ import annotations

from collections.abc import Sequence

from registry.blobs.backends.local import LocalStore
from registry.blobs.backends.reaching import reached
from registry.blobs.objects import ObjectBackend
from registry.blobs.sharing import Locate, Shares, Sharing
from registry.tensors.manifest import Location
from registry.tensors.spec import TensorSpec


class SharedObjects(Shares):
    """Finds the stored tensors that one push may share: in objects that are there, and long enough to hold them.

    Nothing is fetched for it: where a cache has the file, that is looked at, and else a load finds out.
    """

    def __init__(self, cache: LocalStore, objects: ObjectBackend, locate: Locate) -> None:
        self._objects = objects
        self._locate = locate
        self._cache = cache
        self._sizes: dict[str, int] = {}
        """Of the objects; 0 of one that is not there."""
        self._unsound: set[str] = set()

    @property
    def unsound(self) -> set[str]:
        return self._unsound

    def find(self, tensors: Sequence[tuple[str, TensorSpec]]) -> dict[str, Location]:
        located = self._locate({digest for digest, _ in tensors})
        for digest, spec in tensors:
            location = located.get(digest)
            if location is not None and location.offset + spec.nbytes > self._size_of(location.blob):
                self._unsound.add(location.blob)
        cached = [(d, spec) for d, spec in tensors if d in located and self._cache.is_in_place(located[d].blob)]
        sharing = Sharing(self._cache.places, lambda digests: {digest: located[digest] for digest in digests})
        sharing.find(cached)
        self._unsound |= sharing.unsound
        return {digest: location for digest, location in located.items() if location.blob not in self._unsound}

    def _size_of(self, blob: str) -> int:
        if blob not in self._sizes:
            with reached(self._objects):
                found = self._objects.stat(blob)
            self._sizes[blob] = 0 if found is None else found.nbytes
        return self._sizes[blob]
