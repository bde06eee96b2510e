"""One home's database, opened, and who changes it: what every question and every change goes through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from registry.catalog import listing, lookup, statements
from registry.catalog.change import Change
from registry.catalog.database import Database
from registry.catalog.entry import Entry
from registry.catalog.facts import storable
from registry.catalog.migration import HEAD, Migration, connect, read_revision
from registry.disk.filesystem import FileSystem

if TYPE_CHECKING:
    from registry.catalog.address import DatabaseAddress
    from registry.catalog.engine import Fact
    from registry.catalog.leases import LeaseRows


class Access:
    """What a catalog stands on."""

    def __init__(
        self, home: Path | DatabaseAddress, *, actor: str | None = None, file_system: FileSystem | None = None
    ) -> None:
        """Open the catalog of a home; it is made, or brought to this program's revision, where it is not.

        Args:
            actor: who stands in the trail; by default ``user@host``.
            file_system: what the home is on, where it is known better than the kernel tells.
        """
        self._database = Database(home, file_system)
        self._actor = actor

    @staticmethod
    def can_be_read(home: Path | DatabaseAddress) -> bool:
        """Whether a home has a database of this program's revision, which opening it would neither make nor migrate."""
        if not isinstance(home, Path):
            from registry.catalog.postgres import is_current

            return is_current(home)
        path = home / "registry.db"
        if not path.exists():
            return False
        with contextlib.closing(connect(path, "ro")) as connection:
            return read_revision(connection) == HEAD

    @property
    def where(self) -> str:
        """The database: its file, or its address without the password."""
        return self._database.backend.where

    @property
    def path(self) -> Path:
        """The file of a database that is one."""
        return Path(self._database.backend.where)

    @property
    def is_there(self) -> bool:
        """Whether the home is still the one that was opened; where it was deleted, a new catalog makes it again."""
        return self._database.backend.is_there

    @property
    def read_only(self) -> bool:
        return self._database.backend.read_only

    def facts(self) -> tuple[Fact, ...]:
        """Say what is worth knowing of the database, with what to do about it."""
        return self._database.facts()

    @property
    def migration(self) -> Migration | None:
        """What opening it did to the schema, with the path of the backup."""
        return self._database.backend.migration

    @property
    def revision(self) -> str:
        """Of the schema; a catalog that is open has this program's."""
        return HEAD

    @property
    def leases(self) -> LeaseRows:
        """What running pushes and collections claim, where several machines change the catalog."""
        from registry.catalog.leases import LeaseRows

        return LeaseRows(self._database)

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
