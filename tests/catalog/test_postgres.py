"""What a catalog on PostgreSQL promises that one in a file need not."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from databases import Server, run_sql
from drafts import push, race
from sqlalchemy import BigInteger, String, inspect

from registry.catalog import migration, postgres, postgres_migration
from registry.catalog.address import DatabaseAddress
from registry.catalog.catalog import Catalog
from registry.catalog.schema import METADATA
from registry.errors import (
    DatabaseLost,
    DatabaseUnreachable,
    HomeReadOnly,
    HomeUnusable,
    NewerDatabase,
    NotARegistry,
    OlderDatabase,
)

pytestmark = pytest.mark.services

SECRET = "Zq7secret"


@pytest.fixture
def address(postgres: Server) -> Iterator[DatabaseAddress]:
    address = postgres.schema()
    yield address
    postgres.drop(address)


@pytest.fixture
def reader(postgres: Server, address: DatabaseAddress) -> Iterator[DatabaseAddress]:
    """The same database as somebody sees it who may only read, and whose password is asked for nowhere."""
    schema = address.url.rpartition("%3D")[2]
    role = f"reader_{schema}"
    Catalog(address).close()
    with postgres.connect() as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
    yield as_user(address, role)
    with postgres.connect() as connection:
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


def as_user(address: DatabaseAddress, role: str) -> DatabaseAddress:
    """Return the address with another user, and a password that the tests' server does not ask for."""
    place = address.url.partition("@")[2]
    return DatabaseAddress.parse(f"postgresql://{role}:{SECRET}@{place}")


def test_the_tables_are_what_the_scripts_make_and_texts_and_numbers_are_as_on_sqlite(address: DatabaseAddress) -> None:
    engine = Catalog(address)._database.backend.engine
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        for table in METADATA.sorted_tables:
            for column in inspect(connection).get_columns(table.name):
                kind = column["type"]
                if isinstance(kind, String):
                    assert kind.collation == "C", (table.name, column["name"])
                assert "INT" not in str(kind) or isinstance(kind, BigInteger), (table.name, column["name"])


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = ''", "DELETE FROM events", "TRUNCATE events"])
def test_the_trail_is_refused_to_be_changed_even_where_it_holds_nothing(
    address: DatabaseAddress, statement: str
) -> None:
    Catalog(address).close()
    with pytest.raises(Exception, match="the trail is append-only"):
        run_sql(address, statement)


def test_who_made_the_tables_has_no_right_to_change_the_trail(address: DatabaseAddress) -> None:
    Catalog(address).close()
    rights = run_sql(
        address,
        "SELECT DISTINCT privilege_type FROM pg_class, aclexplode(relacl) WHERE oid = 'events'::regclass",
    )
    assert {right for (right,) in rights}.isdisjoint({"UPDATE", "DELETE", "TRUNCATE"}) and ("INSERT",) in rights


def test_eight_processes_migrate_once(address: DatabaseAddress) -> None:
    race(lambda: Catalog(address).close(), [()] * 8)
    assert run_sql(address, "SELECT version_num FROM alembic_version") == [(migration.HEAD,)]
    assert run_sql(address, "SELECT length FROM trail") == [(0,)]


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    address: DatabaseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import registry.migrations

    catalog = Catalog(address)
    push(catalog, "net", 1)
    scripts = tmp_path / "later"
    shutil.copytree(next(iter(registry.migrations.__path__)), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9999_later.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision = '9999'\ndown_revision = '{migration.HEAD}'\n"
        "def upgrade():\n"
        "    op.create_table('later', sa.Column('id', sa.Integer(), nullable=False))\n"
        "    op.execute('SELECT 1 / (SELECT count(*) - 1 FROM versions)')\n"
    )
    backend = catalog._database.backend
    for versions in (1, 2):
        with backend.engine.connect() as connection:
            if versions == 1:
                with pytest.raises(Exception, match="division by zero"):
                    postgres_migration.migrate(connection, "here", scripts, "9999")
            else:
                done = postgres_migration.migrate(connection, "here", scripts, "9999")
                assert done == migration.Migration(migration.HEAD, "9999", None)
        if versions == 1:
            assert run_sql(address, "SELECT version_num FROM alembic_version") == [(migration.HEAD,)]
            assert push(catalog, "net", 2).ref == "net:v2"
    assert run_sql(address, "SELECT count(*) FROM later") == [(0,)]


def test_what_another_or_a_newer_program_wrote_is_left_alone(postgres: Server, address: DatabaseAddress) -> None:
    run_sql(address, "CREATE TABLE theirs (id INT)")
    with pytest.raises(NotARegistry):
        Catalog(address)
    other = postgres.schema()
    Catalog(other).close()
    run_sql(other, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerDatabase, match="'9999'"):
        Catalog(other)
    postgres.drop(other)


def test_a_database_or_schema_that_is_not_there_is_one_sentence(address: DatabaseAddress) -> None:
    with pytest.raises(DatabaseUnreachable, match='"nowhere" does not exist'):
        Catalog(DatabaseAddress.parse(address.url.replace("/postgres?", "/nowhere?")))
    with pytest.raises(HomeUnusable, match="CREATE SCHEMA"):
        Catalog(DatabaseAddress.parse(f"{address.url}x"))


@pytest.mark.parametrize("where", ["127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2", "no-such-host.invalid", "[::1]:1"])
def test_a_server_that_does_not_answer_is_one_sentence_without_the_password(where: str) -> None:
    with pytest.raises(DatabaseUnreachable) as refused:
        Catalog(DatabaseAddress.parse(f"postgresql://ann:{SECRET}%40@{where}/models?connect_timeout=2"))
    told = "".join(traceback.format_exception(refused.value))
    assert SECRET not in told and "postgresql://ann:***@" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("odd", ["connect_timeout=x", f"passwort={SECRET}", "sslmode=maybe", "%zz=1"])
def test_a_parameter_that_the_driver_does_not_know_is_one_sentence_without_the_password(odd: str) -> None:
    with pytest.raises(DatabaseUnreachable) as refused:
        Catalog(DatabaseAddress.parse(f"postgresql://ann:{SECRET}@127.0.0.1:1/models?{odd}"))
    assert SECRET not in "".join(traceback.format_exception(refused.value)) and "\n" not in str(refused.value)


def test_who_may_only_read_reads_and_is_told_so_when_changing(
    address: DatabaseAddress, reader: DatabaseAddress
) -> None:
    entry = push(Catalog(address, actor="me"), "net", 1, aliases=["best"])
    catalog = Catalog(reader, actor="you")
    assert catalog.resolve("net:best") == entry and catalog.read_only and catalog.check_books().trail == ()
    for change in (lambda: push(catalog, "net", 2), lambda: catalog.drop_alias("net", "best")):
        with pytest.raises(HomeReadOnly, match="postgresql://reader_") as refused:
            change()
        assert SECRET not in "".join(traceback.format_exception(refused.value))
    run_sql(address, "UPDATE alembic_version SET version_num = '0006'")
    with pytest.raises(OlderDatabase, match="as its owner"):
        Catalog(reader)


def test_forty_threads_need_ten_connections(address: DatabaseAddress) -> None:
    catalog = Catalog(address, actor="me")

    def work(who: int) -> int:
        entry = push(catalog, "net", who)
        assert catalog.resolve(entry.ref).digest == entry.digest
        (used,) = run_sql(
            address,
            "SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%trail%'",
        )[0]
        return int(used)

    with ThreadPoolExecutor(40) as threads:
        list(threads.map(work, range(40)))
    assert catalog._database.backend.engine.pool.status() and catalog.count() == 40
    assert [entry.version for entry in catalog.entries("net")] == list(range(40, 0, -1))
    assert catalog._database.backend.engine.pool.checkedin() <= postgres.MOST_CONNECTIONS  # type: ignore[attr-defined]


def end_sessions(server: Server, address: DatabaseAddress) -> None:
    """End every session that has read a table of a schema, as a server does that is restarted."""
    schema = address.url.rpartition("%3D")[2]
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            (schema,),
        )


@pytest.fixture
def named(address: DatabaseAddress) -> DatabaseAddress:
    """The address with its schema as the name of its sessions, by which they are found."""
    schema = address.url.rpartition("%3D")[2]
    return DatabaseAddress.parse(f"{address.url}&application_name={quote(schema)}")


def test_a_session_that_was_ended_is_noticed_and_questions_and_changes_go_on(
    postgres: Server, address: DatabaseAddress, named: DatabaseAddress
) -> None:
    catalog = Catalog(named, actor="me")
    push(catalog, "net", 1)
    end_sessions(postgres, address)
    assert catalog.resolve("net").ref == "net:v1"
    end_sessions(postgres, address)
    assert push(catalog, "net", 2).ref == "net:v2"
    end_sessions(postgres, address)
    assert catalog.check_books().trail == ()


def test_a_change_whose_session_is_ended_in_the_middle_is_told_and_not_made(
    postgres: Server, address: DatabaseAddress, named: DatabaseAddress
) -> None:
    catalog = Catalog(named, actor="me")
    push(catalog, "net", 1)
    with pytest.raises(DatabaseLost, match="as a whole or not at all"), catalog.write_lock():
        push(catalog, "net", 2)
        end_sessions(postgres, address)
        catalog.resolve("net:v1")
    assert [entry.ref for entry in catalog.entries()] == ["net:v1"]
    assert push(catalog, "net", 3).ref == "net:v2" and catalog.check_books().trail == ()


def test_a_question_inside_a_snapshot_is_not_asked_again_on_another_one(
    postgres: Server, address: DatabaseAddress, named: DatabaseAddress
) -> None:
    catalog = Catalog(named, actor="me")
    push(catalog, "net", 1)
    with pytest.raises(DatabaseLost), catalog._database.snapshot():
        assert catalog.count() == 1
        end_sessions(postgres, address)
        catalog.count()
    assert catalog.count() == 1


def test_a_snapshot_stays_what_it_was_while_others_push(address: DatabaseAddress) -> None:
    catalog, other = Catalog(address, actor="me"), Catalog(address, actor="you")
    push(catalog, "net", 1)
    with catalog._database.snapshot():
        assert catalog.count() == 1
        push(other, "net", 2)
        assert catalog.count() == 1
    assert catalog.count() == 2
