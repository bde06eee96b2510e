"""Where versions are taken from: a home, or a bundle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from registry.catalog.entry import Entry
from registry.catalog.facts import Identity
from registry.catalog.parcel import Parcel
from registry.home.home import Home
from registry.reference import parse
from registry.tensors.manifest import StoredTensor
from registry.tensors.source import PIECE, TensorSource
from registry.tensors.spec import TensorSpec


@dataclass(frozen=True)
class Listed:
    """A version that is to be copied, before anything of it is read."""

    ref: str
    model: str
    identity: Identity
    nbytes: int
    key: Any
    """By which the shelf finds it."""


class Shelf(Protocol):
    """Versions that can be taken, parents and bases before those that need them."""

    @property
    def place(self) -> str:
        """What it is, for those who read later where a version came from."""

    @property
    def listed(self) -> Sequence[Listed]:
        """What there is."""

    def parcel(self, listed: Listed) -> Parcel:
        """Return all that is known of a version.

        Raises:
            RegistryError: it is not as it was written.
        """

    def tensor(self, listed: Listed, name: str, stored: StoredTensor) -> TensorSource:
        """Return one of its tensors, which is verified when it has been read."""

    def verify(self, listed: Collection[Listed]) -> None:
        """Raise now if the bytes of versions are not what they should be, where nobody has ever verified them.

        Raises:
            RegistryError
        """


class HomeShelf(Shelf):
    """Versions of a home.

    Args:
        entries: parents and bases first, as ``selected`` returns them.
    """

    def __init__(self, home: Home, entries: Sequence[Entry]) -> None:
        self._home = home
        self._copies = home.catalog.copies
        self._listed = tuple(Listed(e.ref, e.name, e.identity, e.byte_count, e) for e in entries)

    @property
    def place(self) -> str:
        return str(self._home.address)

    @property
    def listed(self) -> Sequence[Listed]:
        return self._listed

    def parcel(self, listed: Listed) -> Parcel:
        self._home.manifest(listed.key)  # which compares the row with its digests
        return self._copies.parcel(listed.key, self.place)

    def tensor(self, listed: Listed, name: str, stored: StoredTensor) -> TensorSource:
        return ShelvedTensor(stored, partial(self._home.pieces, listed.key, name, stored, PIECE))

    def verify(self, listed: Collection[Listed]) -> None:
        """Nothing: a home's bytes were verified when they came, and are again when they are read."""


@dataclass(frozen=True, eq=False)
class ShelvedTensor:
    """A tensor on a shelf, verified as it is read."""

    stored: StoredTensor
    read: Callable[[], Iterator[memoryview]]
    """Gives its bytes, piece by piece."""

    @property
    def spec(self) -> TensorSpec:
        return self.stored.spec

    @property
    def identity(self) -> Hashable:
        return self.stored.digest

    @property
    def is_streamed(self) -> bool:
        return True

    def buffer(self) -> memoryview:
        return memoryview(b"".join(self.pieces()))

    def pieces(self, *, own: bool = True) -> Iterator[memoryview]:
        for piece in self.read():  # each is there until the next is asked for
            yield memoryview(bytes(piece))


def selected(home: Home, references: Sequence[str] | None, *, with_bases: bool) -> tuple[Entry, ...]:
    """Return the versions that references name: of a bare name all that are live; of None everything.

    Args:
        with_bases: also those whose weights these are adapters of, where they are in this home.

    Raises:
        RegistryError: a reference names nothing.
    """
    catalog = home.catalog
    found: dict[str, Entry] = {}
    for reference in references if references is not None else (None,):
        if reference is None:
            named = catalog.entries()
        elif parse(reference).is_name and ":" not in reference:
            named = catalog.entries(reference) or (catalog.resolve(reference),)
        else:
            named = (catalog.resolve(reference),)
        found.update({entry.ref: entry for entry in named})
    left = list(found.values()) if with_bases else []
    while left:
        base = left.pop().base
        here = {entry.digest for entry in found.values()}
        ref = catalog.copies.with_weights(base) if base is not None and base not in here else None
        if ref is not None and ref not in found:
            found[ref] = catalog.resolve(ref)
            left.append(found[ref])
    return parents_first(tuple(found.values()))


def parents_first(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return versions in the order in which they were made, but none before its parent or its base."""
    # A parent that came later than its child is named as its first home called it.
    own = {tuple(entry.identity): entry for entry in entries}
    own |= {(entry.uid, entry.version, entry.record_digest): entry for entry in entries}
    by_weights = {entry.digest: entry for entry in entries}
    done: dict[str, Entry] = {}

    def needs(entry: Entry) -> list[Entry]:
        parent = own.get((entry.parent_uid or "", entry.parent_number or 0, entry.parent_record or ""))
        return [each for each in (parent, by_weights.get(entry.base or "")) if each is not None]

    for entry in sorted(entries, key=lambda entry: (entry.created_at, entry.name, entry.version)):
        waiting, seen = [entry], set[str]()
        while waiting:
            last = waiting[-1]
            seen.add(last.ref)
            first = [each for each in needs(last) if each.ref not in done and each.ref not in seen]
            if first:
                waiting += first
            else:
                done.setdefault(last.ref, last)
                waiting.pop()
    return tuple(done.values())
