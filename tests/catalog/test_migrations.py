import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from drafts import push, race
from sqlalchemy import create_engine, inspect

import registry.migrations
from registry.catalog import migration
from registry.catalog.catalog import Catalog
from registry.catalog.schema import METADATA

SCRIPTS = Path(next(iter(registry.migrations.__path__)))

NEXT = """
import os, signal
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "HEAD"


def upgrade():
    with op.batch_alter_table("versions") as batch:
        batch.add_column(sa.Column("color", sa.String(), nullable=False, server_default="blue"))
    if os.environ.get("KILLED_HERE"):
        os.kill(os.getpid(), signal.SIGKILL)
    op.create_table("later", sa.Column("id", sa.Integer(), nullable=False))


def downgrade():
    pass
"""


FROM_A_CHECKOUT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
import registry, torch
print(registry.__file__, registry.push({"weight": torch.ones(2)}, "net", from_="single").ref)
"""


@pytest.fixture
def later(tmp_path):
    """The scripts of a program to come, which rebuilds the table that most others refer to."""
    shutil.copytree(SCRIPTS, tmp_path / "later", ignore=shutil.ignore_patterns("__pycache__"))
    script = NEXT.replace("HEAD", migration.HEAD)
    (tmp_path / "later" / "versions" / "9999_color.py").write_text(script)
    return tmp_path / "later"


@pytest.fixture
def home(tmp_path):
    catalog = Catalog(tmp_path / "home", actor="me")
    for seed in range(20):
        push(catalog, "net", seed, metrics={"acc": seed}, aliases=["last"])
    catalog.close()
    return tmp_path / "home"


def migrate(home, scripts):
    return migration.migrate(home / "registry.db", is_network=False, scripts=scripts, head="9999")


def dump(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def configuration(connection):
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    return config


def test_the_tables_are_what_the_scripts_make():
    with create_engine("sqlite://").connect() as connection:
        command.upgrade(configuration(connection), "head")
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        for table in METADATA.sorted_tables:
            assert all(constraint.name for constraint in table.constraints)


def test_the_scripts_go_down_again_and_leave_nothing():
    with create_engine("sqlite://").connect() as connection:
        command.upgrade(configuration(connection), "head")
        command.downgrade(configuration(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]


def test_the_programs_revision_is_the_newest_script():
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == migration.HEAD


def test_alembic_writes_the_next_script_in_a_checkout(tmp_path):
    checkout = Path(__file__).parents[2]
    shutil.copytree(checkout / "migrations", tmp_path / "migrations")
    shutil.copy(checkout / "pyproject.toml", tmp_path)
    subprocess.run(
        [sys.executable, "-m", "alembic", "revision", "--autogenerate", "--rev-id", "9999", "-m", "next"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    written = (tmp_path / "migrations" / "versions" / "9999_next.py").read_text()
    assert written.count("    pass\n") == 2 and f'down_revision = "{migration.HEAD}"' in written.replace("'", '"')


def test_a_new_home_is_migrated_without_a_backup_and_a_current_one_not_at_all(tmp_path):
    assert Catalog(tmp_path / "home").migration == migration.Migration(None, migration.HEAD, None)
    assert Catalog(tmp_path / "home").migration is None
    assert not (tmp_path / "home" / "backups").exists()


def test_data_survive_the_rebuilding_of_their_table_and_are_backed_up_before(home, later):
    before = dump(home / "registry.db")
    done = migrate(home, later)
    assert (done.before, done.after) == (migration.HEAD, "9999")
    assert sorted(dump(done.backup)) == sorted(before)  # a copy has the triggers last
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        assert connection.execute("SELECT count(*), min(color) FROM versions").fetchone() == (20, "blue")
        for table, count in (("metrics", 20), ("version_blobs", 20), ("aliases", 1), ("documents", 20)):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)
        kept = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'versions'").fetchone()[0]
        assert "ck_versions_number_is_positive" in kept


def test_a_migration_killed_in_the_middle_is_done_by_the_next(home, later):
    before = dump(home / "registry.db")
    child = os.fork()
    if child == 0:
        os.environ["KILLED_HERE"] = "1"
        migrate(home, later)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert dump(home / "registry.db") == before
    assert migrate(home, later).after == "9999"


def test_eight_processes_migrate_once(home, later):
    race(lambda: migrate(home, later), [()] * 8)
    assert len(list((home / "backups").iterdir())) == 1
    assert migrate(home, later) is None


def test_a_checkout_that_is_not_installed_finds_its_migrations_beside_the_package(tmp_path):
    package, apart = Path(registry.__file__).parent, ("cli", "server", "migrations")
    copied = shutil.copytree(
        package,
        tmp_path / "registry",
        ignore=lambda folder, names: ["__pycache__", *(apart if Path(folder) == package else ())],
    )
    shutil.copytree(SCRIPTS, tmp_path / "migrations")
    done = subprocess.run(
        [sys.executable, "-c", FROM_A_CHECKOUT],
        cwd=tmp_path,
        env={**os.environ, "REGISTRY_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(copied / "__init__.py"), "net:v1"], done.stderr
