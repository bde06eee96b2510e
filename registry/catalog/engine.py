"""What a database has to do for the catalog besides running its statements: SQLite and PostgreSQL each say how."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from registry.catalog.rows import Dangling, Reading

if TYPE_CHECKING:
    import sqlalchemy

    from registry.catalog.migration import Migration

BUSY_SECONDS = 60.0
"""How long a change waits for another process; a push holds the lock for milliseconds, a collection for seconds."""

MOVED = "this registry was moved to "
"""What the database itself answers to a change once its rows are elsewhere; where they are follows."""


class Fact(NamedTuple):
    """Something that is worth knowing of a database, and what to do about it."""

    what: str
    value: str
    advice: str = ""


class DatabaseEngine(Protocol):
    """A database that was opened, at this program's revision."""

    engine: sqlalchemy.Engine
    migration: Migration | None
    """What opening it had to do to the schema."""
    dangling: Reading[Dangling] | None
    """Asks for rows that refer to others that are not there; None where the database cannot have them."""

    @property
    def place(self) -> str:
        """How messages call what it is the catalog of."""

    @property
    def where(self) -> str:
        """How messages call the database."""

    @property
    def identity(self) -> str:
        """Which database it is; shown to nobody."""

    @property
    def is_there(self) -> bool:
        """Whether it is still the one that was opened."""

    @property
    def read_only(self) -> bool:
        """Whether this user may only read it."""

    def connect(self, *, alone: bool) -> sqlalchemy.Connection:
        """Return a connection; ``alone`` for one statement that reads, which needs no transaction."""

    def begin(self, connection: sqlalchemy.Connection, *, writes: bool) -> None:
        """Begin a transaction: with the one write lock, or a snapshot."""

    def is_unchanged(self, connection: sqlalchemy.Connection) -> bool:
        """Whether what a connection read is of one moment."""

    def worded(self) -> AbstractContextManager[None]:
        """Turn the errors that a user can meet into ours."""

    def refuse_changes(self, connection: sqlalchemy.Connection, to: str | None) -> None:
        """Have the database refuse every change from the end of this transaction on, naming where it was moved to;
        None to allow them again."""

    def is_moved(self, connection: sqlalchemy.Connection) -> bool:
        """Whether it refuses changes."""

    def count_on(self, connection: sqlalchemy.Connection, tables: Iterable[sqlalchemy.Table]) -> None:
        """Let the ids that rows are given go on after those that are there."""

    def facts(self, connection: sqlalchemy.Connection) -> tuple[Fact, ...]:
        """Say what is worth knowing of it."""
