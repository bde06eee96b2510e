import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from drafts import push, push_many, race

from registry.catalog import sqlite
from registry.catalog.catalog import Catalog
from registry.disk.filesystem import FileSystem, detect, find
from registry.errors import (
    DatabaseDamaged,
    DatabaseFull,
    HomeReadOnly,
    HomeUnusable,
    NewerDatabase,
    NotARegistry,
)

NETWORK = FileSystem("nfs4", "/mnt")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home with % and ? in it"


def test_eight_processes_create_migrate_and_push_at_once(place):
    race(push_many, [(place, who, 15) for who in range(8)])
    catalog = Catalog(place)
    entries = catalog.entries("raced")
    assert [entry.version for entry in entries] == list(range(120, 0, -1))
    assert len({entry.digest for entry in entries}) == 120
    assert catalog.resolve("raced:last").ref == "raced:v120"
    assert catalog.check_books().trail == ()


def test_eight_processes_push_on_a_network_file_system_without_wal_or_lock(home):
    def work(who):
        catalog = Catalog(home, file_system=NETWORK, actor="me")
        for i in range(5):
            push(catalog, "raced", (who, i))

    race(work, [(who,) for who in range(8)])
    catalog = Catalog(home, file_system=NETWORK)
    assert [entry.version for entry in catalog.entries("raced")] == list(range(40, 0, -1))
    assert sorted(path.name for path in home.iterdir()) == ["registry.db"]


def test_eight_processes_that_push_the_same_make_one_version(place):
    race(lambda who: push(Catalog(place), "net", "same"), [(who,) for who in range(8)])
    assert [entry.ref for entry in Catalog(place).entries()] == ["net:v1"]
    assert [event.details.get("reused") for event in Catalog(place).events()] == [True] * 7 + [None]


def test_a_push_killed_at_any_moment_is_there_or_not(place):
    push(Catalog(place), "net", "first")
    for attempt in range(12):
        seen, told = os.pipe()
        child = os.fork()
        if child == 0:
            push_many(place, attempt, 1000, partial(os.write, told, b"."))
            os._exit(0)
        os.close(told)
        for _ in range(2 + attempt % 2):
            os.read(seen, 1)
        time.sleep(0.0005 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(seen)
        catalog = Catalog(place)
        versions = [entry.version for entry in catalog.entries("raced")] if catalog.count() > 1 else []
        assert versions == list(range(len(versions), 0, -1))
        assert all(
            catalog.manifest_and_documents(entry)[0].weights_digest == entry.digest
            for entry in catalog.entries(limit=5)
        )
        assert not versions or catalog.resolve("raced:last").version == versions[0]
        assert catalog.check_books().trail == ()
        catalog.close()
    assert len(versions) > 12


def test_a_forked_child_does_not_share_its_parents_connection(catalog):
    push(catalog, "net", 0)
    race(lambda who: push(catalog, "net", who), [(who,) for who in range(1, 5)])
    assert push(catalog, "net", 9).ref == "net:v6"
    assert catalog.check_books().trail == ()


def test_a_local_database_has_a_write_ahead_log_and_a_network_one_has_none(home):
    def mode(catalog):
        with closing(sqlite3.connect(catalog.path)) as connection:
            return connection.execute("PRAGMA journal_mode").fetchone()[0]

    catalog = Catalog(home)
    push(catalog, "net", 1)
    assert mode(catalog) == "wal"
    catalog.close()
    assert mode(Catalog(home, file_system=NETWORK)) == "delete"
    assert Catalog(home, file_system=NETWORK).resolve("net").ref == "net:v1"


def test_a_process_that_ends_leaves_no_log_even_where_it_collects_nothing(home):
    push(Catalog(home), "net", 1)
    code = (
        "import atexit, gc, sys; from pathlib import Path; from registry.catalog.catalog import Catalog\n"
        "atexit.register(gc.freeze)\n"
        "catalog = Catalog(Path(sys.argv[1])); catalog.record_event('looked')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(home)], check=True)
    assert not list(home.glob("registry.db-*"))


def test_mounts_are_told_apart():
    table = (
        "22 1 8:1 / / rw - ext4 /dev/sda rw\n"
        "30 22 0:50 / /mnt/my\\040data rw shared:1 - nfs4 server:/x rw\n"
        "31 30 0:51 / /mnt/my\\040data/fast rw - xfs /dev/sdb rw\n"
        "32 22 0:52 / /cloud rw - fuse.gcsfuse bucket rw\n"
    )
    types = {
        path: find(Path(path), table)
        for path in ("/home/me", "/mnt/my data/home", "/mnt/my data/fast/home", "/cloud", "/cloudy")
    }
    assert [found.type for found in types.values()] == ["ext4", "nfs4", "xfs", "fuse.gcsfuse", "ext4"]
    assert [found.is_network for found in types.values()] == [False, True, False, True, False]
    assert detect(Path("/proc/self")).type == "proc"


def test_what_is_no_database_is_refused_and_left_alone(home):
    home.mkdir()
    (home / "registry.db").write_bytes(b"no database at all, " * 200)
    with pytest.raises(DatabaseDamaged, match="backups"):
        Catalog(home)
    assert (home / "registry.db").read_bytes().startswith(b"no database")


def test_a_damaged_database_is_reported_in_one_sentence(home):
    catalog = Catalog(home)
    for seed in range(50):
        push(catalog, "net", seed)
    catalog.close()
    size = catalog.path.stat().st_size
    with catalog.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 8192))
    with pytest.raises(DatabaseDamaged):
        Catalog(home).entries()


def test_another_programs_database_is_left_alone(home):
    home.mkdir()
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    with pytest.raises(NotARegistry):
        Catalog(home)


def test_a_newer_database_is_refused_by_its_revision(home):
    Catalog(home).close()
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerDatabase, match=r"'9999'.*pip install -U"):
        Catalog(home)


def test_a_home_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(HomeUnusable):
            Catalog(home)


def test_a_full_disk_changes_nothing(home):
    catalog = Catalog(home)
    push(catalog, "net", 1)
    script = (
        "import resource, sys, signal; from pathlib import Path\n"
        "from drafts import push; from registry.errors import DatabaseFull\n"
        "from registry.catalog.catalog import Catalog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "home = Path(sys.argv[1]); catalog = Catalog(home)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n    for i in range(10_000): push(catalog, 'net', ('full', i), note='x' * 5000)\n"
        "except DatabaseFull as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    result = subprocess.run(
        [sys.executable, "-c", script, str(home)], capture_output=True, text=True, env=environment, check=True
    )
    assert "cannot be written to the disk" in result.stdout and DatabaseFull.__name__ not in result.stderr
    versions = [entry.version for entry in catalog.entries("net")]
    assert versions == list(range(len(versions), 0, -1)) and len(versions) > 1
    assert catalog.check_books().trail == () and push(catalog, "net", "after").version == len(versions) + 1


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root may")
@pytest.mark.parametrize("merged", [True, False])
def test_a_home_of_somebody_else_can_be_read_and_not_written(merged):
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        catalog = Catalog(folder / "home", actor="me")
        push(catalog, "net", 1, aliases=["best"])
        if merged:
            catalog.close()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            os._exit(_outsider(folder))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        shutil.rmtree(folder)


def _outsider(folder):
    """Try everything as somebody who may only read; return 0 if it went as it should."""
    catalog = Catalog(folder / "home", actor="you")
    read = (catalog.resolve("net:best").ref, len(catalog.entries()), len(catalog.events()), catalog.read_only)
    try:
        push(catalog, "net", 2)
    except HomeReadOnly:
        refused = True
    try:
        Catalog(folder / "another")
    except HomeUnusable:
        return 0 if refused and read == ("net:v1", 1, 2, True) else 2
    return 3


def test_reading_imports_neither_torch_nor_alembic_nor_an_orm(home):
    push(Catalog(home), "net", 1)
    script = (
        "import sys; from pathlib import Path; from registry.catalog.catalog import Catalog\n"
        "catalog = Catalog(Path(sys.argv[1])); catalog.entries(); catalog.events(); catalog.resolve('net')\n"
        "print({'torch', 'alembic', 'numpy', 'sqlalchemy.orm', 'sqlalchemy.dialects.postgresql'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script, str(home)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_what_was_compiled_for_one_home_is_compiled_for_all(tmp_path):
    def work(home):
        catalog = Catalog(home)
        push(catalog, "net", 1, metrics={"acc": 1}, aliases=["last"])
        catalog.entries("net", limit=3)
        catalog.events()
        return len(sqlite._COMPILED)

    assert work(tmp_path / "one") == work(tmp_path / "two") > 20
    assert work(tmp_path / "two") < 100


def test_threads_that_share_a_catalog_push_at_once_and_a_change_of_one_is_none_of_another(catalog):
    push(catalog, "net", 0)
    with ThreadPoolExecutor(4) as threads:
        with catalog.write_lock():
            entry = push(catalog, "net", 1)
            read = threads.submit(lambda: catalog.resolve("net").ref)
            assert (read.result(), catalog.resolve("net").ref) == ("net:v1", entry.ref)
            waiting = [threads.submit(push, catalog, "net", number) for number in (2, 3, 4)]
            assert not any(push.done() for push in waiting)
        assert sorted(push.result().version for push in waiting) == [3, 4, 5]
    assert catalog.check_books().trail == ()


def test_a_home_that_was_replaced_is_the_one_that_is_read_and_written(home, tmp_path):
    catalog, other = Catalog(home), Catalog(tmp_path / "other")
    push(catalog, "net", 1)
    push(other, "other", 1)
    other.close()
    shutil.rmtree(home)
    (tmp_path / "other").rename(home)
    assert [entry.ref for entry in catalog.entries()] == ["other:v1"]
    assert push(catalog, "other", 2).ref == "other:v2"
    assert not catalog.is_there
    assert Catalog(home).count() == 2
