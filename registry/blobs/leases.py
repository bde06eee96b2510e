"""Who is about to use what: the claims of running pushes, and of running collections, on blobs.

Whoever changes a catalog sees the leases of all others who do. A lease ends with its process, however that ends, at
once or soon.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Held:
    """What the leases say that nobody has let go of."""

    ids: frozenset[str]
    blobs: frozenset[str]
    """Digests that a push has written, or is about to."""
    doomed: frozenset[str]
    """Digests whose objects a collection is deleting; to put one of them now would be in vain."""


class Lease(Protocol):
    """The claims of one push or collection; nobody sees it before its first."""

    @property
    def id(self) -> str:
        """Unique, and a part of a file's name; what is named by it is nobody's once the lease is over."""

    @property
    def is_held(self) -> bool:
        """Whether others still see it: one that has to be renewed may have run out meanwhile."""
        return True

    def claim(self, *blobs: str) -> None:
        """Say that a push goes on, and which blobs it makes; before they get their names, so that none is missed."""

    def doom(self, blobs: Iterable[str]) -> None:
        """Say, under the catalog's lock, which objects a collection deletes after it."""

    def release(self) -> None:
        """Let go of everything."""


class Leases(Protocol):
    """All leases that matter to one catalog."""

    def lease(self) -> Lease:
        """Return a new one."""

    def held(self) -> Held:
        """Return what is held by whoever is alive."""
