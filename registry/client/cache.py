"""The caches of homes that are elsewhere on this machine: how large they are, and how they get smaller.

What was not used for longest goes first. Nothing goes that a process of this user has mapped, or is about to map, and
nothing that is being fetched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.blobs.backends.fetching import FETCHING
from registry.blobs.files import StoreFolders, blob_files, digest_of, is_file
from registry.blobs.running import FileLeases
from registry.client.store import caches

_MAPPED = re.compile(r"^\S+ \S+ \S+ \S+ \S+\s+(/.*?)(?: \(deleted\))?$", re.M)


@dataclass(frozen=True)
class Cache:
    """The cache of one server, or of one home whose blobs are in a bucket."""

    name: str
    """``"hub_8080"``."""
    path: Path
    blobs: int
    """How many files it holds."""
    nbytes: int
    """Of these, and of what has come of others."""


@dataclass(frozen=True)
class Trimmed:
    """What trimming did."""

    caches: tuple[Cache, ...]
    """As they are now."""
    removed: int
    """How many files went."""
    nbytes: int
    """Bytes that this freed."""
    kept: int
    """How many files had to go, and are in use."""


@dataclass(frozen=True)
class _Cached:
    path: Path
    places: StoreFolders
    nbytes: int
    used_at: float


def found(others: Sequence[Path] = ()) -> tuple[Cache, ...]:
    """Return the caches of all servers, by name, and then others."""
    every = []
    for folder in _folders(others):
        blobs, parts = _blobs(folder), _parts(folder)
        nbytes = sum(each.nbytes for each in (*blobs, *parts))
        every.append(Cache(folder.name, folder, len(blobs), nbytes))
    return tuple(every)


def trim(nbytes: int, others: Sequence[Path] = ()) -> Trimmed:
    """Delete what was not used for longest, until all caches together have at most so many bytes.

    Raises:
        OSError: the system refuses.
    """
    folders = _folders(others)
    blobs = [each for folder in folders for each in (*_parts(folder), *_blobs(folder))]
    left = sum(each.nbytes for each in blobs)
    mapped = _mapped()
    held = {folder: FileLeases(StoreFolders(folder).running).held().blobs for folder in folders}
    removed = kept = freed = 0
    for each in sorted(blobs, key=lambda each: each.used_at):
        if left <= nbytes:
            break
        in_use = str(each.path) in mapped or digest_of(each.path) in held[each.places.home]
        if in_use or not _removed(each):
            kept += 1
            continue
        left, freed, removed = left - each.nbytes, freed + each.nbytes, removed + 1
    return Trimmed(found(others), removed, freed, kept)


def _folders(others: Sequence[Path]) -> list[Path]:
    of_buckets = [path.resolve() for path in others if path.is_dir()]
    try:
        servers = sorted(path.resolve() for path in caches().iterdir() if path.is_dir() and not path.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        servers = []
    return [*servers, *(path for path in of_buckets if path not in servers)]


def _blobs(folder: Path) -> list[_Cached]:
    places = StoreFolders(folder)
    every = []
    for path in blob_files(places):
        digest = digest_of(path)
        if digest is not None and is_file(path):
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                used = status.st_mtime
                with contextlib.suppress(OSError):  # its stamp says when it was used, where there is one
                    used = places.stamp(digest).stat().st_mtime
                every.append(_Cached(path, places, status.st_size, used))
    return every


def _parts(folder: Path) -> list[_Cached]:
    """Return what came of blobs whose fetching broke off, and of pushes that were killed."""
    places = StoreFolders(folder)
    held = FileLeases(places.running).held().ids
    every = []
    for path in (*(folder / FETCHING).glob("*.part"), *places.temporary.glob("*.part")):
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if path.stem not in held:
                every.append(_Cached(path, places, status.st_size, status.st_mtime))
    return every


def _removed(each: _Cached) -> bool:
    """Delete a file, but not one that a process is fetching into."""
    with contextlib.suppress(FileNotFoundError):
        if each.path.suffix == ".part":
            handle = os.open(each.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                each.path.unlink()
            except BlockingIOError:
                return False
            finally:
                os.close(handle)
            return True
        each.path.unlink()
        digest = digest_of(each.path)
        if digest is not None:
            each.places.stamp(digest).unlink(missing_ok=True)
    return True


def _mapped() -> frozenset[str]:
    """Return the files that processes have mapped, of those that this user may look at."""
    return frozenset(path for maps in _maps() for path in _MAPPED.findall(maps))


def _maps() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (process / "maps").read_text(errors="surrogateescape")
