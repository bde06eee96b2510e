"""What the page on serving says to install is run as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socket import create_server

import pytest
import typer.main
from served import Served, serving

from registry import Registry
from registry.cli.app import build
from registry.errors.root import rebuild

pytestmark = pytest.mark.services

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
NAME = "hub.lab.example"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert found is not None
    return found[1]


class Proxy:
    """nginx, with the page's configuration."""

    def __init__(self, folder: Path, server: Served) -> None:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            pytest.skip("there is no nginx")
        with create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
        subprocess.run(make, check=True, capture_output=True)
        text = block("nginx").replace("/etc/ssl/registry", str(folder))
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}").replace("listen 443", f"listen {self.port}")
        # The limits are reached by few requests, on however slow a machine.
        text = text.replace("rate=100r/s", "rate=1r/s").replace("burst=200", "burst=20")
        outer = (
            f"pid {folder}/pid; error_log {folder}/errors; daemon off;\nevents {{}}\nhttp {{ access_log off; {text} }}"
        )
        (folder / "nginx.conf").write_text(outer)
        self._context = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
        self.process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
        deadline = time.monotonic() + 30
        while self.get("/healthz")[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.1)

    def get(
        self, path: str, host: str = NAME, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask over TLS; the status is 0 where nothing answers."""
        import http.client

        connection = http.client.HTTPSConnection(NAME, self.port, context=self._context, timeout=30)
        try:
            connection.sock = self._context.wrap_socket(_connect(self.port), server_hostname=NAME)
            connection.request(method, path, headers={"Host": host, **headers})
            answer = connection.getresponse()
            return answer.status, {key.lower(): each for key, each in answer.headers.items()}, answer.read()
        except OSError:
            return 0, {}, b""
        finally:
            connection.close()


def _connect(port: int):
    import socket

    return socket.create_connection(("127.0.0.1", port), timeout=30)


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Proxy, Served]]:
    options = re.search(r"^ExecStart=\S+ serve --port 8080 --workers 4 (.*)$", block("ini"), re.M)
    assert options is not None
    with serving(tmp_path / "home", *options[1].split()) as server:
        proxy = Proxy(tmp_path, server)
        try:
            yield proxy, server
        finally:
            proxy.process.terminate()
            proxy.process.wait(30)


def test_the_units_command_is_one() -> None:
    words = re.findall(r"^ExecStart=\S+ (\S+) (.*)$", block("ini"), re.M)[0]
    command = typer.main.get_command(build()).commands[words[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words[1].split() if word.startswith("--")} <= known


def test_nginx_adds_tls_and_takes_nothing_away(tmp_path: Path, proxied: tuple[Proxy, Served]) -> None:
    proxy, _ = proxied
    bearer = {"Authorization": f"Bearer {Registry(tmp_path / 'home').add_token('ann', role='write').text}"}
    status, headers, body = proxy.get("/api/v1/whoami", **bearer)
    assert (status, json.loads(body)["user"]) == (200, "ann")
    assert "max-age" in headers["strict-transport-security"] and headers["x-content-type-options"] == "nosniff"
    assert json.loads(proxy.get("/api/v1/whoami")[2])["role"] == "none"
    assert proxy.get("/api/v1/whoami", host="evil.example")[0] == 421
    own = {**bearer, "Origin": f"https://{NAME}:{proxy.port}"}
    assert proxy.get("/api/v1/session", f"{NAME}:{proxy.port}", "DELETE", **own)[0] == 204
    status, headers, _ = proxy.get("/api/v1/session", f"{NAME}:{proxy.port}", "DELETE", Origin=own["Origin"])
    assert status == 204 and "secure" in headers["set-cookie"].lower()
    assert proxy.get("/api/v1/session", NAME, "DELETE", Origin="https://evil.example")[0] == 403


def test_nginx_limits_how_often_in_words_that_a_client_understands(proxied: tuple[Proxy, Served]) -> None:
    proxy, _ = proxied
    answers: list[tuple[int, dict[str, str], bytes]] = []

    def ask() -> None:
        answers.extend(proxy.get("/healthz") for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [each for each in answers if each[0] == 429]
    assert refused and {each[0] for each in answers} <= {200, 429}
    error = json.loads(refused[0][2])["error"]
    assert str(rebuild(error["code"], error["fields"])) == error["message"] and refused[0][1]["retry-after"] == "5"


def test_a_server_that_is_not_there_is_said_in_words(proxied: tuple[Proxy, Served]) -> None:
    proxy, server = proxied
    server.stop()
    status, _, body = proxy.get("/healthz")
    error = json.loads(body)["error"]
    assert status == 503 and str(rebuild(error["code"], error["fields"])) == error["message"]
