"""One home's database, opened, and who changes it: what every question and every change goes through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from registry.catalog import listing, lookup, statements
from registry.catalog.change import Change
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.facts import storable
from registry.catalog.migration import HEAD, Migration, connect, read_revision
from registry.catalog.sqlite import JOURNAL_MODE
from registry.disk.filesystem import FileSystem


class Access:
    """What a catalog stands on."""

    def __init__(self, home: Path, *, actor: str | None = None, file_system: FileSystem | None = None) -> None:
        """Open the catalog of a home; it is made, or brought to this program's revision, where it is not.

        Args:
            actor: who stands in the trail; by default ``user@host``.
            file_system: what the home is on, where it is known better than the kernel tells.
        """
        self._database = Database(home, file_system)
        self._actor = actor

    @staticmethod
    def can_be_read(home: Path) -> bool:
        """Whether a home has a database of this program's revision, which opening it would neither make nor migrate."""
        path = home / "registry.db"
        if not path.exists():
            return False
        with contextlib.closing(connect(path, "ro")) as connection:
            return read_revision(connection) == HEAD

    @property
    def path(self) -> Path:
        return self._database.file.path

    @property
    def is_there(self) -> bool:
        """Whether the home is still the one that was opened; where it was deleted, a new catalog makes it again."""
        return self._database.file.is_there

    @property
    def file_system(self) -> FileSystem:
        return self._database.file.file_system

    @property
    def read_only(self) -> bool:
        return self._database.file.read_only

    @property
    def journal_mode(self) -> str:
        """SQLite's: ``wal`` on a local disk, ``delete`` on a network file system."""
        return str(self._database.rows(JOURNAL_MODE)[0][0])

    @property
    def migration(self) -> Migration | None:
        """What opening it did to the schema, with the path of the backup."""
        return self._database.file.migration

    @property
    def revision(self) -> str:
        """Of the schema; a catalog that is open has this program's."""
        return HEAD

    def close(self) -> None:
        """Close its connections."""
        self._database.close()

    def _entry(self, version: int) -> Entry:
        return listing.read(self._database.rows(statements.BY_ID, version=version))[0]

    def _names(self, name: str) -> tuple[str, ...]:
        return lookup.names(self._database, lookup.current(self._database, name))

    @contextlib.contextmanager
    def _change(self) -> Iterator[Change]:
        with self._database.write() as connection:
            # Who changes it now: of a catalog that a server has open, each time another user.
            from registry.catalog.actor import client, creator

            who = self._actor if self._actor is not None else creator()
            yield Change(connection, storable(who), text(datetime.now(UTC)), client())


def text(moment: datetime) -> str:
    """Return a time as the tables have it: ISO 8601 in UTC, so that times sort."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
