"""How alembic reaches a database: the connection that a program lends it, or a scratch one in a checkout.

``registry.catalog.migration`` lends a connection on which a transaction is open, and commits it itself. The alembic
command (``alembic revision --autogenerate``) gets an empty database in memory with all scripts run on it, so that it
compares the tables of ``registry.catalog.schema`` with what the scripts make and touches nobody's registry.
"""

from typing import Any

from alembic import context
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep
from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, create_engine


def tables() -> MetaData:
    lent = context.config.attributes.get("tables")
    if isinstance(lent, MetaData):
        return lent
    from registry.catalog.schema import METADATA

    return METADATA


class AsOnSqlite(PostgresqlImpl):
    """What scripts make on PostgreSQL: whole numbers have 64 bits, and texts sort by their characters, as on SQLite."""

    __dialect__ = "postgresql"

    def create_table(self, table: Table, **options: Any) -> None:
        for column in table.columns:
            _as_on_sqlite(column)
        super().create_table(table, **options)

    def add_column(self, table_name: str, column: Column[Any], **options: Any) -> None:
        _as_on_sqlite(column)
        super().add_column(table_name, column, **options)


def _as_on_sqlite(column: Column[Any]) -> None:
    if isinstance(column.type, Integer):
        column.type = BigInteger()
    elif isinstance(column.type, String):
        column.type = String(column.type.length, collation="C")


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=tables(),
        render_as_batch=True,
        transactional_ddl=True,
    )
    context.run_migrations()


def bring_to_head(connection: Connection) -> None:
    scripts = context.script
    steps = [
        MigrationStep.upgrade_from_script(scripts.revision_map, script)
        for script in reversed(list(scripts.walk_revisions()))
    ]
    migrations = MigrationContext.configure(connection, opts={"fn": lambda revision, _: steps})
    with Operations.context(migrations):
        migrations.run_migrations()


lent = context.config.attributes.get("connection")
if lent is not None:
    run(lent)
else:
    with create_engine("sqlite://").connect() as scratch:
        bring_to_head(scratch)
        run(scratch)
