"""Emptying the trash and taking out the garbage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from registry.home.home import Home
from registry.notebook import called

GRACE = timedelta(days=7)
"""How long a version stays in the trash before a collection may take it."""

_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Collected:
    """What a collection freed, or would free."""

    versions: tuple[str, ...]
    """References of versions that left the trash for good."""
    files: tuple[str, ...]
    """Blobs that no version needs, and what killed pushes left behind; by path in the home."""
    nbytes: int
    dry_run: bool
    kept: int = 0
    """Versions that stay in the trash, since they were put there within the grace period."""

    def __repr__(self) -> str:
        verb = "would free" if self.dry_run else "freed"
        return called(self, f"{verb} {self.nbytes:,} bytes, {len(self.files)} files, {len(self.versions)} versions")


def gc(
    home: Home,
    *,
    grace: timedelta,
    dry_run: bool,
    progress: Callable[[int, int], object] | None = None,
) -> Collected:
    """Give up versions that have been in the trash for longer than ``grace``, and delete what nobody needs.

    What a version needs stands in its manifest and in a table; what either says is kept.

    First the catalog forgets, and commits; then, under its lock again, the files are marked; and after it they go.
    Killed in between, the files are garbage of the next collection. A push that found a tensor stored, or wrote a blob,
    asks under the same lock before it commits whether both are still there and not marked, and else writes again.

    Raises:
        RegistryError: of ``catalog`` and ``blobs``.
    """
    catalog, store = home.catalog, home.blobs
    now = datetime.now(UTC)
    # A grace of more years than there have been keeps everything.
    before = now - grace if grace < now - _EARLIEST else _EARLIEST
    if dry_run:
        due, needed = catalog.due(before)
        garbage = store.garbage(lambda: needed)
    else:
        with catalog.write_lock():
            due = catalog.purge(before)
            catalog.forget_unneeded_blobs()
        with store.sweep() as sweep:
            with catalog.write_lock():
                garbage = sweep.garbage(lambda: catalog.referenced_blobs().union(catalog.known_blobs()))
                if garbage:
                    freed = {"files": len(garbage), "bytes": sum(item.nbytes for item in garbage)}
                    catalog.record_event("gc", None, freed)
                sweep.mark(garbage)
            sweep.delete(progress)
    in_trash = catalog.count(trashed=True)
    return Collected(
        kept=in_trash - len(due) if dry_run else in_trash,
        versions=due,
        files=tuple(item.name for item in garbage),
        nbytes=sum(item.nbytes for item in garbage),
        dry_run=dry_run,
    )
