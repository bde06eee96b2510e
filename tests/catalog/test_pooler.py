"""A catalog behind pgbouncer, which gives the connections of a server out by turns."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import torch
from bucket_server import free_ports
from databases import OwnServer, own_server

from registry import Registry
from registry.catalog.address import search_path
from registry.errors import OptionsNotPassedOn

POOLER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """A server of which a pooler may have three connections."""
    with own_server() as server:
        yield server


@pytest.fixture(params=["transaction", "session"])
def pooled(request: pytest.FixtureRequest, server: OwnServer, tmp_path: Path) -> Iterator[str]:
    """The address of a database behind a pooler, which ignores options where a test is marked so."""
    if POOLER is None:
        pytest.skip("there is no pgbouncer")
    socket = parse_qs(urlsplit(server.url).query)["host"][0]
    [port] = free_ports(1)
    name = f"pooled_{port}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    folder = tmp_path / "pooler"
    folder.mkdir()
    (folder / "users").write_text('"postgres" ""\n')
    ignored = "options" if request.node.get_closest_marker("ignoring") else "extra_float_digits"
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{name} = host={socket} dbname={name}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder / 'users'}\n"
        f"pool_mode = {request.param}\ndefault_pool_size = 3\nignore_startup_parameters = {ignored}\n"
    )
    command = [POOLER, "-q", str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:  # which it refuses to be
        for each in (folder, *folder.parents[:3]):
            each.chmod(0o755)
        command += ["-u", Path(socket).owner()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"postgresql://postgres@127.0.0.1:{port}/{name}"
    try:
        _wait_for(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)


def home_at(folder: Path, url: str) -> Path:
    folder.mkdir()
    (folder / "registry.toml").write_text(f'catalog = "{url}"\n')
    return folder


@pytest.mark.services
def test_threads_that_share_three_connections_of_a_pooler_push_without_gaps(pooled: str, tmp_path: Path) -> None:
    home = home_at(tmp_path / "home", pooled)
    failed: list[BaseException] = []

    def work(who: int) -> None:
        try:
            hub = Registry(home)
            for number in range(4):
                entry = hub.push({"w": torch.tensor([who, number])}, "net", from_="single", aliases=[f"by-{who}"])
                assert hub.get(f"net:by-{who}").ref == entry.ref
            hub.close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hub = Registry(home)
    assert not failed
    assert [entry.version for entry in hub.list("net")] == list(range(24, 0, -1))
    hub.rename("net", "team/net")
    hub.rm("team/net:v1")
    hub.gc()
    assert hub.audit().is_clean


@pytest.mark.services
def test_a_schema_that_a_pooler_does_not_pass_on_is_not_exchanged_for_another(
    pooled: str, tmp_path: Path, server: OwnServer
) -> None:
    with pytest.raises(OptionsNotPassedOn, match="SET search_path"):
        Registry(home_at(tmp_path / "home", f"{pooled}?options=-csearch_path%3Dteam")).list()


@pytest.mark.services
@pytest.mark.ignoring
def test_nor_is_one_that_a_pooler_was_told_to_ignore(pooled: str, tmp_path: Path) -> None:
    Registry(home_at(tmp_path / "other", pooled)).push({"w": torch.ones(2)}, "net", from_="single")
    with pytest.raises(OptionsNotPassedOn, match="SET search_path"):
        Registry(home_at(tmp_path / "home", f"{pooled}?options=-c%20search_path%3Dteam")).list()


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ("", None),
        ("-cstatement_timeout=5", None),
        ("-csearch_path=team", "team"),
        ("-c search_path=team -c jit=off", "team"),
        ("--search-path=a,public", "a,public"),
        (r"-csearch_path=a,\ b", "a, b"),
        ("-csearch_path=a -csearch_path=b", "b"),
    ],
)
def test_what_an_address_sets_the_search_path_to(options: str, path: str | None) -> None:
    assert search_path(options) == path
