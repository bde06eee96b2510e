"""Where a store that is not on this machine keeps its bytes: whole objects, each by its digest. Nothing maps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Moved = Callable[[int], object]
"""Called with the bytes that came or went since the last call."""


def unmoved(nbytes: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class StoredObject:
    """An object in a list of all."""

    digest: str
    nbytes: int
    age_seconds: float
    """Since it was put, the last time if more than once."""


class ObjectBackend(Protocol):
    """Objects by digest. Its text is how messages call it.

    All may raise OSError, where it cannot be reached or refuses. A name that is no digest is a ValueError.
    """

    def has(self, digest: str) -> bool:
        """Whether there is such an object."""

    def stat(self, digest: str) -> StoredObject | None:
        """Return what a list says of an object, or None if there is none."""

    def put(self, digest: str, path: Path) -> None:
        """Store a file, in place of what has its name; it is there as a whole or not at all, and durable then.

        Raises:
            FileNotFoundError: there is no such file.
        """

    def fetch(self, digest: str, path: Path) -> None:
        """Write an object into a new file, unchecked.

        Raises:
            FileNotFoundError: there is no such object, and then no file.
        """

    def receive(self, digest: str, handle: int, moved: Moved = unmoved) -> None:
        """Write an object into an open file, unchecked.

        It comes in place of what the file holds; or behind it, if that is the begin of the same.

        Args:
            moved: called with the bytes that came since the last call, by any thread.

        Raises:
            FileNotFoundError: there is no such object.
        """

    def ranges(self, digest: str, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return parts of an object, each given by its offset and length.

        Raises:
            FileNotFoundError: there is no such object.
            EOFError: it ends before one of them does.
        """

    def list(self) -> Iterator[StoredObject]:
        """Yield all objects; what is put or deleted meanwhile may be missing or not."""

    def delete(self, digest: str) -> None:
        """Delete an object, if there is one."""

    def set_aside(self, digest: str, *, keep: bool = False) -> str | None:
        """Copy an object into the quarantine, delete it, and return its name there; None if there is none.

        Args:
            keep: do not delete it.
        """

    def seconds_ahead(self) -> float:
        """Return by how much its clock is ahead of this machine's; something small is written to find out."""
