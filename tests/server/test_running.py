"""A server begins with what to do next, or with one sentence why not; and ends after what it was asked before."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from served import COMMAND, Served, answer_on, refused_to_serve, serving

from registry import Registry

pytestmark = pytest.mark.services

HEADERS = b"Host: localhost\r\nContent-Length: 14\r\nContent-Type: application/json\r\n\r\n"
SLOW = b"POST /api/v1/session HTTP/1.1\r\n" + HEADERS + b'{"token"'


def test_it_says_where_it_is_and_what_to_run_next(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        assert server.said == f"serving {tmp_path / 'home'} at {server.url}\n"
        assert server.get("/healthz").status == 200
        server.stop()
        said = server.process.stdout.read() if server.process.stdout is not None else ""
    assert f"registry token add USER --role write --home {tmp_path / 'home'}" in said
    assert f"registry login {server.url}\n" in said and f"REGISTRY_HOME={server.url} registry list\n" in said
    assert said.endswith("stopped\n")


def test_the_server_has_no_torch_in_its_memory(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        for path in ("/healthz", "/api/v1/whoami", "/api/v1/openapi.json"):
            assert server.get(path).status == 200
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtorch" not in maps and "sqlite" in maps


def test_it_can_be_reached_by_the_newer_kind_of_address(tmp_path: Path) -> None:
    with serving(tmp_path / "home", "--host", "::1") as server:
        assert f"at http://[::1]:{server.port}" in server.said
        assert server.get("/healthz", Host=f"[::1]:{server.port}").document == {"status": "ok"}


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused_to_serve(tmp_path / "home", "--port", str(port))
    assert said == (
        f"registry: cannot serve at http://127.0.0.1:{port}: another program uses the port {port}; stop it, or choose "
        "another one with --port (0 takes a free one)\n"
    )
    assert not (tmp_path / "home").exists()


def test_a_port_of_root_is_one_sentence(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("becomes another user, which only root may")
    program = (
        "import os; from registry.server.running import listen; from registry.server.settings import Settings\n"
        "from pathlib import Path; from registry.errors import CannotListen\n"
        "'localhost'.encode('idna'); os.setuid(65534)\n"
        "try: listen(Settings(Path('/nowhere'), port=80))\n"
        "except CannotListen as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "only root may use the port 80; choose one from 1024 on" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("host", "why"), [("no.such.host.invalid", "leads to no address"), ("192.0.2.1", "its own"), ("a b", "leads")]
)
def test_an_address_that_is_not_this_machines_is_one_sentence(tmp_path: Path, host: str, why: str) -> None:
    assert why in refused_to_serve(tmp_path / "home", "--port", "0", "--host", host)


def test_a_home_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in refused_to_serve(tmp_path / "file" / "home", "--port", "0")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "registry.db").write_text("no database at all " * 100)
    assert "is damaged" in refused_to_serve(tmp_path / "other", "--port", "0")


def test_a_server_is_not_a_home_to_serve(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "serve", "--port", "0"],
        capture_output=True,
        text=True,
        env={**os.environ, "REGISTRY_HOME": "http://hub:8080"},
    )
    assert done.returncode == 1 and "a server serves a folder of this machine" in done.stderr


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_what_was_asked_before_the_end_is_answered(tmp_path: Path, which: int) -> None:
    with serving(tmp_path / "home") as server, server.connect() as connection:
        connection.sendall(SLOW)
        time.sleep(0.5)
        server.process.send_signal(which)
        time.sleep(0.5)
        with pytest.raises(OSError):
            server.connect()
        connection.sendall(b': "x"}')
        assert answer_on(connection).code == "wrong-token"
        assert server.process.wait(60) == 0
    assert "Traceback" not in server.log


def test_what_never_ends_keeps_it_from_ending_only_so_long(tmp_path: Path) -> None:
    with serving(tmp_path / "home", patience=1) as server, server.connect() as connection:
        connection.sendall(SLOW)
        time.sleep(0.3)
        assert server.stop() == 0
        assert answer_on(connection).code in ("slow-request", "server-stopping")
    assert "Traceback" not in server.log


def test_several_processes_serve_one_home(tmp_path: Path) -> None:
    token = Registry(tmp_path / "home").add_token("ann").text
    with serving(tmp_path / "home", "--workers", "3", "--no-anonymous") as server:
        deadline = time.monotonic() + 60
        while len(children(server)) < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
        workers = children(server)
        assert len(workers) == 3
        assert {server.get("/api/v1/whoami", token).document["user"] for _ in range(30)} == {"ann"}
        assert server.stop() == 0
    assert not any(Path(f"/proc/{each}").exists() for each in workers)
    assert "Traceback" not in server.log


def children(server: Served) -> list[int]:
    """Return the processes that serve for it."""
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [pid for pid in map(int, listed) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_home_that_is_gone_is_no_health(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        assert server.get("/healthz").document == {"status": "ok"}
        shutil.rmtree(tmp_path / "home")
        answer = server.get("/healthz")
        assert (answer.status, answer.code) == (503, "home-unusable")
        assert not (tmp_path / "home").exists()


def test_a_fault_is_a_number_for_the_client_and_a_trace_in_the_log(tmp_path: Path) -> None:
    program = """
import sys, socket
from pathlib import Path
import registry.server.health as health
health.service_of = None
from registry.server.running import run, listen
import registry.server.running as running
from registry.server.settings import Settings
settings = Settings(Path(sys.argv[1]), port=0)
listening = listen(settings)
print(f"serving at http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
run(settings, listening)
"""
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "home")], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    server = Served(process, log)
    answer = server.get("/healthz")
    assert (answer.status, answer.code) == (500, "server-failed")
    number = answer.document["error"]["fields"]["number"]
    assert b"TypeError" not in answer.body and f"fault {number} in GET /healthz" in server.log
    assert server.log.count("TypeError") == 1
    assert server.stop() == 0
    process.stdout.close()  # type: ignore[union-attr]


def test_a_log_of_requests_leaves_out_what_may_be_secret(tmp_path: Path) -> None:
    token = Registry(tmp_path / "home").add_token("ann").text
    with serving(tmp_path / "home", "--access-log") as server:
        server.get("/api/v1/whoami?signature=hush", token)
        server.stop()
    assert "ann GET /api/v1/whoami 200" in server.log
    assert "hush" not in server.log and token not in server.log


def test_without_its_libraries_it_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['fastapi'] = None; " + COMMAND[2]
    done = subprocess.run([sys.executable, "-c", program, "serve"], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'checkpoint-registry[server]'" in done.stderr


def test_what_the_system_says_of_a_port_is_worded() -> None:
    from registry.server.running import _worded

    assert "1024" in _worded(OSError(errno.EACCES, "Permission denied"), 80)
