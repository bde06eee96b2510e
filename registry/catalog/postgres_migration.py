"""Bringing a PostgreSQL database to this program's revision: in one transaction, for which racing programs wait.

There is no backup before it: a server has its own (``pg_dump``), and what fails in the middle never was.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from registry.catalog.migration import HEAD, Migration, is_known, upgrade
from registry.errors.catalog import HomeUnusable, NewerDatabase, NotARegistry, OlderDatabase

_KEY = 0x636B7074
"""Of the lock of migrations; with it the schema's name, so that registries in one database do not wait."""

_TABLES = (
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace "
    "AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')"
)
# Not by to_regclass: it may answer from before a lock was waited for. One statement sees one moment.
_LOOK = f"SELECT current_schema(), current_setting('server_encoding'), ARRAY({_TABLES})::text[]"
_MAY_MAKE = "SELECT NOT pg_is_in_recovery() AND has_schema_privilege(current_schema(), 'CREATE')"


def revision_of(connection: Connection, where: str) -> str | None:
    """Return the revision of a database, or None for one that is empty.

    Raises:
        NewerDatabase, NotARegistry: another program, or a newer one, wrote it.
        HomeUnusable: it cannot hold a registry.
    """
    schema, encoding, tables = connection.exec_driver_sql(_LOOK).one()
    if schema is None:
        raise HomeUnusable(
            where,
            "its search path has no schema that is there and that this user may use; CREATE SCHEMA makes one, and "
            "GRANT USAGE ON SCHEMA lets a user",
        )
    if encoding != "UTF8":
        raise HomeUnusable(where, f"its encoding is {encoding}; create a database with ENCODING 'UTF8'")
    if not tables:
        return None
    if not {"alembic_version", "trail", "events"} <= set(tables):
        raise NotARegistry(where)
    revision = connection.exec_driver_sql("SELECT max(version_num) FROM alembic_version").scalar()
    if revision is None:
        raise NotARegistry(where)
    if revision != HEAD and not is_known(revision):
        raise NewerDatabase(where, revision, HEAD)
    return str(revision)


def migrate(connection: Connection, where: str, scripts: Path | None = None, head: str = HEAD) -> Migration | None:
    """Create or upgrade the tables and commit; None where another process has done it meanwhile.

    Raises:
        OlderDatabase, HomeUnusable: this user may not.
    """
    with connection.begin():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_KEY}, hashtext(current_schema()))")
        before = revision_of(connection, where)
        if before == head:
            return None
        if not connection.exec_driver_sql(_MAY_MAKE).scalar():
            if before is not None:
                raise OlderDatabase(where, before, head)
            raise HomeUnusable(where, "it is empty, and this user may create no tables in it")
        upgrade(connection, scripts, head)
        return Migration(before, head, None)
