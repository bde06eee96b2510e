"""Storing tensors: each is hashed, and those that no blob has yet become a new one.

What is hashed is what is written, also where a training writes to the tensors meanwhile: a source gives its values in
memory of their own. What is large is not held. As long as such tensors are stored already, they are read twice, to find
that out and to write the others. As long as they are new, they are hashed while they are written, and what then turns
out to be stored is overwritten by what comes next.

Order: temporary file; data; header; fsync; the push's own record names the blob; rename; fsync of the folders. Only
then does the caller commit the version. Killed at any point, what is left is garbage that a collection finds.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from registry.blobs.files import StoreFolders
from registry.blobs.layout import ordered, reserve
from registry.blobs.new_blob import Announce, Hashed, NewBlob, TooLate
from registry.blobs.sharing import Shares
from registry.blobs.workers import Workers
from registry.tensors.manifest import BlobRecord, Location, StoredTensor
from registry.tensors.source import TensorSource
from registry.tensors.spec import TensorSpec, tensor_hasher

PIECE = 1 << 20
"""Bytes up to which a tensor is held from its hashing to its writing."""

BATCH_BYTES = 16 << 20
BATCH_TENSORS = 500
"""How much is hashed before the catalog is asked what of it is stored, and the rest written."""

MOST_TOGETHER = 20
"""Small tensors that are handed to a thread at a time."""

HASHERS = 2
"""Threads that hash: more would wait for the disk. While tensors are new, one core is for the digest of the file."""

AHEAD = 2 * HASHERS
"""Large tensors that are hashed at most before the first of them is written, or found."""

TINY = 1 << 20
"""Bytes up to which starting threads takes longer than hashing."""

SMALL = 256 << 20
"""Bytes up to which everything is hashed before anything is written, so that the header has room for what is new alone.
Above, and where that is nothing beside the data, room for all names is kept, and hashing and writing go on together."""

NOTHING = 100
"""How many times as large as the header the data is for that."""

Progress = Callable[[int, int], object]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class Stored:
    """Where tensors are now."""

    tensors: Mapping[str, StoredTensor]
    new_blobs: tuple[BlobRecord, ...]
    unsound: frozenset[str] = frozenset()
    """Blobs that could have been shared, were they not missing or damaged."""


def store_tensors(
    places: StoreFolders,
    temporary: Path,
    tensors: Mapping[str, TensorSource],
    sharing: Shares,
    announce: Announce,
    progress: Progress | None,
    *,
    expected: Mapping[str, str] | None = None,
) -> Stored:
    """Store tensors by name; what may be shared is not written again.

    Args:
        temporary: where the new blob grows.
        announce: called before the first byte is written, and with the blob's digest before it gets its name.
        progress: called with (bytes done, bytes in all).
        expected: digests by name, of sources that verify what they give; what is stored of them is not read.

    Raises:
        OSError: nothing was stored, and the temporary file is gone.
    """
    hold, guesses = False, True
    while True:
        try:
            return _store(places, temporary, tensors, sharing, announce, progress, expected or {}, hold, guesses)
        except TooLate:
            hold = True
        except _Unsound:
            pass  # its blobs are shared no more
        except OSError as error:
            if not guesses or error.errno not in _FULL:
                raise
            guesses = False  # what is stored already is then not written in vain


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Unsound(Exception):
    """A blob turned out to be missing or damaged of which a tensor was to be shared already."""


def _store(
    places: StoreFolders,
    temporary: Path,
    tensors: Mapping[str, TensorSource],
    sharing: Shares,
    announce: Announce,
    progress: Progress | None,
    expected: Mapping[str, str],
    hold: bool,
    guesses: bool,
) -> Stored:
    """Store tensors as ``store_tensors`` does, at the first try.

    Args:
        hold: hold all tensors from their hashing to their writing.
        guesses: hash what is large only while it is written, where it seems to be new.

    Raises:
        TooLate, _Unsound: it has to begin anew.
    """
    first: dict[Hashable, str] = {}
    for name, source in tensors.items():
        first.setdefault(source.identity, name)
    names = list(first.values())
    names = [names[position] for position in ordered([tensors[name].spec for name in names])]
    digests: dict[str, str] = {}
    known: dict[str, Location] = {}

    def find(items: Iterable[tuple[str | None, TensorSpec]]) -> None:
        if wanted := [(digest, spec) for digest, spec in items if digest is not None]:
            known.update(sharing.find(wanted))
            if sharing.unsound and any(location.blob in sharing.unsound for location in known.values()):
                raise _Unsound

    if expected:
        find((expected[name], tensors[name].spec) for name in names)
        digests.update({name: expected[name] for name in names if expected[name] in known})
        names = [name for name in names if name not in digests]
    total = sum(tensors[name].spec.nbytes for name in names)
    room = reserve(names, [tensors[name].spec for name in names])
    whole = total <= SMALL and total < NOTHING * room
    blob = NewBlob(temporary, None if whole else room, total, announce)
    guess = _Guess()
    done = 0
    try:
        if guesses and not whole and (probe := _smallest(names, tensors, expected)) is not None:
            find([probe])
            guess.is_new = probe[0] not in known
        last = _Written()
        # One question for each batch: what is hashed while it is written is asked of together with what comes next.
        for batch in chain(_batches(_hashed(names, tensors, total, hold, expected, guess), whole=whole), [[]]):
            blob.expect(batch)
            find(chain(last.unasked(), ((item.digest, item.spec) for item in batch)))
            digests.update(last.settled(blob, known))
            if guesses:
                guess.learn(last.found(known))
            if whole:
                blob.prepare(_fresh(batch, known))
            last = _Written(blob.end, batch, [blob.append(item, known) for item in batch])
            done += sum(item.spec.nbytes for item in batch)
            if progress is not None and batch:
                progress(done, total)
        new = blob.finish(places)
    except BaseException:
        blob.discard()
        raise
    if new is not None:
        known.update(blob.locations(new.digest))
    stored = {
        name: StoredTensor(source.spec, digest, known[digest])
        for name, source in tensors.items()
        for digest in [digests[first[source.identity]]]
    }
    return Stored(stored, (new,) if new is not None else (), frozenset(sharing.unsound))


@dataclass(frozen=True)
class _Written:
    """A batch that has just been written."""

    begin: int = 0
    """How many tensors the blob had before."""
    batch: Sequence[Hashed] = ()
    digests: Sequence[str] = ()

    def unasked(self) -> list[tuple[str | None, TensorSpec]]:
        """Return what was hashed only while it was written."""
        return [(digest, item.spec) for digest, item in self._each() if item.digest is None]

    def settled(self, blob: NewBlob, known: Container[str]) -> dict[str, str]:
        """Return the digests by key; where something is stored already that was taken to be new, write without it."""
        digests = self.digests
        if any(digest in known for digest, _ in self.unasked()):
            blob.go_back(self.begin)
            digests = [blob.append(replace(item, digest=digest), known) for digest, item in self._each()]
        return {item.key: digest for digest, item in zip(digests, self.batch, strict=True)}

    def found(self, known: Container[str]) -> list[bool]:
        """Return of each that is large whether it is stored already."""
        return [digest in known for digest, item in self._each() if item.content is None]

    def _each(self) -> Iterator[tuple[str, Hashed]]:
        return zip(self.digests, self.batch, strict=True)


def _fresh(batch: Sequence[Hashed], known: Mapping[str, Location]) -> list[Hashed]:
    """Return what has to be written, each content once."""
    fresh: dict[str | None, Hashed] = {}
    for item in batch:
        if item.digest not in known:
            fresh.setdefault(item.digest, item)
    return list(fresh.values())


class _Guess:
    """Whether the next large tensor is new, as those before it were: it is then hashed only while it is written."""

    is_new = False

    def learn(self, stored: Iterable[bool]) -> None:
        """Take what was found of each large tensor of a batch; nothing, where it had none."""
        if found := list(stored):
            self.is_new = not any(found)


def _smallest(
    names: Sequence[str], tensors: Mapping[str, TensorSource], expected: Mapping[str, str]
) -> tuple[str, TensorSpec] | None:
    """Return the digest of the large tensor that takes least to hash; None where that is known, or none is large."""
    large = [tensors[name] for name in names if name not in expected and not _is_held(tensors[name])]
    if not large:
        return None
    source = min(large, key=lambda each: each.spec.nbytes)
    return _digest(source, source.pieces(own=False)), source.spec


def _is_held(source: TensorSource) -> bool:
    return not source.is_streamed or source.spec.nbytes <= PIECE


def _digest(source: TensorSource, pieces: Iterable[memoryview]) -> str:
    hasher = tensor_hasher(source.spec)
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


def _hashed(
    names: Sequence[str],
    tensors: Mapping[str, TensorSource],
    total: int,
    hold: bool,
    expected: Mapping[str, str],
    guess: _Guess,
) -> Iterator[Hashed]:
    """Yield tensors with their digests, in order; those that are hashed while they are written without."""

    def hashed(name: str) -> Hashed:
        source = tensors[name]
        is_held = hold or _is_held(source)
        if not is_held and (name in expected or guess.is_new):
            return Hashed(name, source.spec, expected.get(name), None, source)
        content = source.buffer() if is_held else None
        digest = _digest(source, source.pieces(own=False) if content is None else (content,))
        return Hashed(name, source.spec, digest, content, source)

    if total <= TINY:
        yield from map(hashed, names)
        return
    cores = os.cpu_count() or 1
    with Workers(max(1, min(HASHERS, cores - guess.is_new)), "blake3") as pool:
        ahead: deque[tuple[int, Future[list[Hashed]]]] = deque()
        taken = 0
        for share, group in _groups(names, tensors, hold=hold):
            while ahead and (taken + share > BATCH_BYTES or len(ahead) >= BATCH_TENSORS // MOST_TOGETHER):
                freed, first = ahead.popleft()
                taken -= freed
                yield from first.result()
            ahead.append((share, pool.submit(lambda each: list(map(hashed, each)), group)))
            taken += share
        for _, first in ahead:
            yield from first.result()


def _groups(
    names: Sequence[str], tensors: Mapping[str, TensorSource], *, hold: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield tensors to be hashed by one thread, in order, with the bytes that are held of them meanwhile.

    Each that is large is alone; of the others so many are together that handing them over takes less than hashing them.
    """
    group: list[str] = []
    taken = 0
    for name in names:
        share = tensors[name].spec.nbytes
        is_large = not hold and not _is_held(tensors[name])
        if group and (is_large or taken + share > PIECE or len(group) >= MOST_TOGETHER):
            yield taken, group
            group, taken = [], 0
        if is_large:
            yield min(share, BATCH_BYTES // AHEAD), [name]
        else:
            group.append(name)
            taken += share
    if group:
        yield taken, group


def _batches(items: Iterator[Hashed], *, whole: bool) -> Iterator[list[Hashed]]:
    """Yield the items in batches to be written together; with ``whole`` all in one."""
    batch: list[Hashed] = []
    held = 0
    for item in items:
        batch.append(item)
        held += item.spec.nbytes
        if not whole and (held >= BATCH_BYTES or len(batch) >= BATCH_TENSORS):
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
