"""What lies in the store and nobody needs: blobs of no version, what killed pushes left behind."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from registry.blobs.files import StoreFolders, blob_files, digest_of
from registry.blobs.leases import Leases
from registry.disk.folders import make_folder


@dataclass(frozen=True)
class Garbage:
    """A file that nobody needs."""

    name: str
    """Relative to the store."""
    nbytes: int
    blob: str | None
    """Digest, if it is a blob."""


def find(places: StoreFolders, leases: Leases, needed: Callable[[], Collection[str]]) -> tuple[Garbage, ...]:
    """Return every file that no version and no running push needs.

    The disk is listed before the running pushes are asked, and these before the catalog: a push names a blob in its
    record before the blob appears, and commits before it removes the record, so it is missed at no point.
    """
    blobs = {digest: path for path in blob_files(places) if (digest := digest_of(path))}
    parts = [part for folder in (places.temporary, places.stamps, places.running) for part in _in(folder, "*.part")]
    # Of a backup that was killed: a database of this revision has no migration before it any more.
    parts += _in(places.backups, ".*.part")
    stamps, records = _in(places.stamps, "*.json"), _in(places.running, "*.json")
    held = leases.held()
    wanted = held.blobs.union(needed())
    found = [
        *(path for path in parts if path.stem.partition(".")[0] not in held.ids),
        *(path for path in records if path.stem not in held.ids),
        *(path for path in stamps if path.stem not in wanted),
    ]
    return (
        *(_garbage(places, path, digest) for digest, path in sorted(blobs.items()) if digest not in wanted),
        *(_garbage(places, path, None) for path in sorted(found)),
    )


def put_aside(places: StoreFolders, garbage: Iterable[Garbage]) -> dict[Garbage, Path]:
    """Take blobs out of the place where a push looks for them, and return where each file is now.

    They go among the temporary files of pushes that are over, where the next collection finds them if this one is
    killed. All other garbage stays where it is: of such a name a push makes a stamp at most, and can do without it.
    """
    now = {}
    for item in garbage:
        path = places.home / item.name
        if item.blob is not None:
            make_folder(places.temporary)
            aside = places.temporary / f"{uuid.uuid4().hex}.part"
            try:
                path.rename(aside)
            except FileNotFoundError:
                continue  # to delete it later by its name would take what somebody writes meanwhile
            path = aside
        now[item] = path
    return now


def remove(path: Path) -> None:
    """Unlink a file; a process that has it mapped keeps it."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _in(folder: Path, pattern: str) -> list[Path]:
    """List a folder, but by no link: what it leads to is not ours to delete."""
    return [] if folder.is_symlink() else list(folder.glob(pattern))


def _garbage(places: StoreFolders, path: Path, blob: str | None) -> Garbage:
    try:
        nbytes = path.lstat().st_size
    except OSError:
        nbytes = 0
    return Garbage(os.fspath(path.relative_to(places.home)), nbytes, blob)
