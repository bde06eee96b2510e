"""Logging in: a token is tried, kept where only its user reads it, sent where nobody listens, and never printed."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import COMMAND, Served, serving

from registry import Registry
from registry.client import credentials
from registry.errors import NotLoggedIn, SecretInAddress, UnprotectedToken, UnreadableLogins, UnusableToken

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another user's configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("REGISTRY_TOKEN", "REGISTRY_ALLOW_HTTP"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config" / "checkpoint-registry" / "tokens.json"


@pytest.fixture
def token(tmp_path: Path) -> str:
    return Registry(tmp_path / "home").add_token("ann", role="write").text


@pytest.fixture
def server(tmp_path: Path, token: str) -> Iterator[Served]:
    with serving(tmp_path / "home") as found:
        yield found


def say(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *arguments], input=given, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and (not given.strip() or given.strip() not in done.stdout + done.stderr)
    return done


def test_a_login_is_kept_for_this_user_alone_and_a_logout_forgets_it(
    server: Served, token: str, configuration: Path
) -> None:
    done = say("login", server.url, given=f"{token}\n")
    assert done.returncode == 0, done.stderr
    assert f"logged in to {server.url} as ann: write on *" in done.stdout
    assert configuration.stat().st_mode & 0o777 == 0o600
    assert credentials.token_for(f"{server.url}/any/path") == token
    assert say("logout", server.url).returncode == 0
    assert credentials.token_for(server.url) is None
    again = say("logout", server.url)
    assert again.returncode == 1 and "there is no token for" in again.stderr


def test_a_wrong_token_is_not_kept(server: Served, configuration: Path) -> None:
    done = say("login", server.url, given="crt_wrong\n")
    assert done.returncode == 1 and "the token is unknown, expired or revoked" in done.stderr
    assert not configuration.exists()


@pytest.mark.parametrize("given", ["", "two words\n", "ümlaut\n", "a" * 1500])
def test_what_cannot_be_a_token_is_said_without_it(server: Served, given: str) -> None:
    done = say("login", server.url, given=given)
    assert done.returncode == 1 and "is not a valid token" in done.stderr


@pytest.mark.parametrize(
    "url", ["http://ann:hush@hub:8080", "https://hush@hub", "http://:hush@[::1]", "http://a:hush@b:c"]
)
def test_an_address_with_a_password_is_refused_without_it(url: str) -> None:
    done = say("login", url, given="crt_x\n")
    assert done.returncode == 1 and "hush" not in done.stdout + done.stderr


@pytest.mark.parametrize("url", ["hub:8080", "ftp://hub", "http://", "", "http://hub:99999", "http://[::1"])
def test_what_is_no_address_is_said(url: str) -> None:
    done = say("login", url)
    assert done.returncode == 1 and "is not a valid address of a server" in done.stderr


def test_where_nothing_or_something_else_answers_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer() -> None:
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        other = say("login", f"http://127.0.0.1:{port}", given="crt_x\n")
        thread.join()
    nothing = say("login", f"http://127.0.0.1:{port}", given="crt_x\n")
    assert [other.returncode, nothing.returncode] == [1, 1]
    assert "there is no registry at" in other.stderr and "Connection refused" in nothing.stderr


def test_a_token_is_not_sent_where_it_can_be_read_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", "crt_hush")
    for url in (
        "http://hub:8080",
        "http://192.168.1.5",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
    ):
        with pytest.raises(UnprotectedToken) as refused:
            credentials.token_for(url)
        assert "hush" not in str(refused.value)
    for url in ("https://hub", "http://localhost:1", "http://127.0.0.9", "http://[::1]:80", "HTTP://LOCALHOST"):
        assert credentials.token_for(url) == "crt_hush"
    monkeypatch.setenv("REGISTRY_ALLOW_HTTP", "1")
    assert credentials.token_for("http://hub:8080") == "crt_hush"


def test_without_a_token_plain_http_is_no_matter() -> None:
    assert credentials.token_for("http://hub:8080") is None


def test_the_environment_goes_before_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.remember("https://hub", "crt_kept")
    assert credentials.token_for("https://HUB:443/x") == "crt_kept"
    monkeypatch.setenv("REGISTRY_TOKEN", " crt_given\n")
    assert credentials.token_for("https://hub") == "crt_given"
    monkeypatch.setenv("REGISTRY_TOKEN", "crt_a\r\nHost: evil")
    with pytest.raises(UnusableToken) as refused:
        credentials.token_for("https://hub")
    assert "crt_a" not in str(refused.value)


def test_a_token_is_for_one_server(configuration: Path) -> None:
    credentials.remember("https://hub", "crt_one")
    credentials.remember("https://hub:8443", "crt_two")
    assert [credentials.token_for(url) for url in ("https://hub/", "https://hub:8443", "https://other")] == [
        *("crt_one", "crt_two"),
        None,
    ]
    with pytest.raises(NotLoggedIn):
        credentials.forget("https://other")


def test_tokens_that_others_may_read_are_not_used(configuration: Path) -> None:
    credentials.remember("https://hub", "crt_one")
    configuration.chmod(0o644)
    with pytest.raises(UnreadableLogins, match="chmod 600"):
        credentials.token_for("https://hub")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"https://hub": 3}', b'{"https://hub": "crt_x"'])
def test_a_damaged_file_of_tokens_is_said_without_what_is_in_it(configuration: Path, content: bytes) -> None:
    configuration.parent.mkdir(parents=True)
    configuration.touch(0o600)
    configuration.write_bytes(content)
    with pytest.raises(UnreadableLogins) as refused:
        credentials.token_for("https://hub")
    assert "crt_x" not in str(refused.value)


def test_an_address_with_a_password_is_never_kept() -> None:
    with pytest.raises(SecretInAddress):
        credentials.remember("https://ann:hush@hub", "crt_x")


def test_a_login_on_a_terminal_asks_without_showing(server: Served, token: str) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "login", server.url], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    while b"token: " not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, f"{token}\n".encode())
    try:
        while part := os.read(ours, 1000):
            shown += part
    except OSError:  # Linux says so when the other side is closed.
        pass
    os.close(ours)
    assert process.wait(60) == 0, shown
    assert token.encode() not in shown and b"logged in to" in shown
