"""What lies in the store and nobody needs: blobs of no version, what killed pushes left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from registry.blobs import running
from registry.blobs.files import StoreFolders, blob_files, digest_of


@dataclass(frozen=True)
class Garbage:
    """A file that nobody needs."""

    path: Path
    nbytes: int
    blob: str | None
    """Digest, if it is a blob."""


def find(places: StoreFolders, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
    """Return every file that no version and no running push needs.

    The disk is listed before the running pushes are asked, and these before the catalog: a push names a blob in its
    record before the blob appears, and commits before it removes the record, so it is missed at no point.
    """
    blobs = {digest: path for path in blob_files(places) if (digest := digest_of(path))}
    parts = [part for folder in (places.temporary, places.stamps, places.running) for part in _in(folder, "*.part")]
    # Of a backup that was killed: a database of this revision has no migration before it any more.
    parts += _in(places.backups, ".*.part")
    stamps, records = _in(places.stamps, "*.json"), _in(places.running, "*.json")
    ids, in_use = running.alive(places.running)
    wanted = in_use.union(needed())
    found = [
        *(path for path in parts if path.stem.partition(".")[0] not in ids),
        *(path for path in records if path.stem not in ids),
        *(path for path in stamps if path.stem not in wanted),
    ]
    return (
        *(_garbage(path, digest) for digest, path in sorted(blobs.items()) if digest not in wanted),
        *(_garbage(path, None) for path in sorted(found)),
    )


def remove(garbage: Iterable[Garbage]) -> None:
    """Unlink files; a process that has one mapped keeps it."""
    for item in garbage:
        with contextlib.suppress(FileNotFoundError):
            item.path.unlink()


def _in(folder: Path, pattern: str) -> list[Path]:
    """List a folder, but by no link: what it leads to is not ours to delete."""
    return [] if folder.is_symlink() else list(folder.glob(pattern))


def _garbage(path: Path, blob: str | None) -> Garbage:
    try:
        nbytes = path.lstat().st_size
    except OSError:
        nbytes = 0
    return Garbage(path, nbytes, blob)
