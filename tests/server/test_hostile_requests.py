"""What nobody sends by accident: it is refused in words, nothing is kept of it, and the server goes on."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served, answer_on, serving

pytestmark = pytest.mark.services

SESSION = "/api/v1/session"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("hostile") / "home", patience=1.5) as found:
        yield found
        assert "Traceback" not in found.log, found.log


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "evil.example@localhost", "", "[::1"],
)
def test_a_name_that_is_not_its_own_is_refused(server: Served, host: str) -> None:
    answer = server.get("/api/v1/whoami", Host=host)
    assert answer.status in (400, 421) and answer.code in ("foreign-host", "invalid-request")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080", "10.1.2.3", "localhost."])
def test_its_own_names_and_addresses_are_not(server: Served, host: str) -> None:
    assert server.get("/api/v1/whoami", Host=host).status == 200


def test_a_name_below_an_allowed_one_is_its_own(tmp_path: Path) -> None:
    with serving(tmp_path / "home", "--allowed-host", "*.lab.example", "--allowed-host", "hub") as server:
        assert [
            server.get("/healthz", Host=host).status for host in ("a.lab.example", "hub", "lab.example", "xhub")
        ] == [
            *(200, 200),
            *(421, 421),
        ]


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://localhost:1"])
def test_what_a_page_of_another_site_sends_is_refused(server: Served, method: str, origin: str) -> None:
    answer = server.request(method, SESSION, b"{}", Origin=origin)
    assert (answer.status, answer.code) == (403, "foreign-origin")


def test_what_its_own_page_sends_is_not(server: Served) -> None:
    assert server.request("POST", SESSION, b'{"token": "x"}', Origin=server.url).code == "wrong-token"


def test_headers_have_a_size(server: Served) -> None:
    answer = server.get("/healthz", X_Long="a" * 40_000)
    assert (answer.status, answer.code) == (431, "oversized-headers")
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(5_000))
    assert server.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n").status == 431
    assert server.get("/healthz", X_Long="a" * 20_000).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e3\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\0\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: a\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_words(server: Served, sent: bytes) -> None:
    answer = server.send(sent)
    assert 400 <= answer.status < 500 and answer.code == "invalid-request"


def test_a_body_has_a_size_whether_it_says_so_or_not(server: Served) -> None:
    said = server.request("POST", SESSION, b"", Content_Length=str(1 << 30))
    assert (said.status, said.code) == (413, "oversized-body")
    head = f"POST {SESSION} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"100000\r\n" + b"a" * (1 << 20) + b"\r\n"
    silent = server.send(head, *[chunk] * 8)
    assert (silent.status, silent.code) == (413, "oversized-body")


@pytest.mark.parametrize("path", ["/api/v1/alias", "/api/v1/card", "/nowhere"])
def test_only_a_piece_of_a_file_may_be_large(server: Served, path: str) -> None:
    answer = server.request("PUT", path, b"", Content_Length=str(1 << 30))
    assert (answer.status, answer.code) == (413, "oversized-body")


def test_memory_does_not_grow_with_what_is_sent(server: Served) -> None:
    before = server.resident
    head = f"POST {SESSION} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"100000\r\n" + b"a" * (1 << 20) + b"\r\n"
    connections = [server.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(head)
    for connection in connections:
        for _ in range(16):
            connection.sendall(chunk)
    assert {answer_on(connection).status for connection in connections} <= {408, 413}
    for connection in connections:
        connection.close()
    assert server.resident - before < 64 << 20


def test_a_body_that_does_not_come_is_given_up(server: Served) -> None:
    answer = server.request("POST", SESSION, b"{", Content_Length="100")
    assert (answer.status, answer.code) == (408, "slow-request")


def test_a_body_that_drips_is_given_up(server: Served) -> None:
    with server.connect() as connection:
        head = f"POST {SESSION} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode())
        connection.settimeout(0.3)
        began = time.monotonic()
        while time.monotonic() - began < 60:
            connection.sendall(b" ")
            try:
                connection.recv(1, 2)  # MSG_PEEK
                break
            except TimeoutError:
                pass
        connection.settimeout(60)
        assert answer_on(connection).code == "slow-request"


def test_headers_that_do_not_come_are_given_up(server: Served) -> None:
    answer = server.send(b"GET /healthz HTTP/1.1\r\nHost: local")
    assert (answer.status, answer.code) == (408, "slow-request")


def test_a_connection_on_which_nothing_is_sent_is_closed(server: Served) -> None:
    with server.connect() as connection:
        assert connection.recv(1) == b""


def test_later_headers_that_do_not_come_are_given_up(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_on(connection).status == 200
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
        assert answer_on(connection).status == 408


def test_an_answer_to_a_body_that_nobody_reads_arrives(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"PUT /api/v1/uploads/no/where HTTP/1.1\r\nHost: localhost\r\n")
        connection.sendall(b"Content-Length: 67108864\r\n\r\n")
        for _ in range(64):
            connection.sendall(bytes(1 << 20))
        assert answer_on(connection).status == 404
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_on(connection).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api/v1/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/%00",
        "/%ff%fe",
        "//",
        "/healthz/",
    ],
)
def test_a_path_at_which_nothing_is_is_said_so(server: Served, path: str) -> None:
    answer = server.get(path)
    assert (answer.status, answer.code) == (404, "no-such-page")
    assert "root:" not in answer.body.decode()


@pytest.mark.parametrize("method", ["POST", "DELETE", "TRACE", "PROPFIND", "HEAD"])
def test_a_method_that_a_path_does_not_take_is_said_so(server: Served, method: str) -> None:
    answer = server.request(method, "/healthz")
    assert answer.status == 405 and answer.headers["allow"] == "GET"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"token": 3}', b"\xff", b'{"tok', b"[" * 100_000])
def test_a_body_that_cannot_be_read_is_said_so(server: Served, body: bytes) -> None:
    answer = server.request("POST", SESSION, body)
    assert (answer.status, answer.code) == (400, "invalid-request")
    assert "detail" not in answer.document


def test_what_was_sent_is_not_sent_back(server: Served) -> None:
    answer = server.request("POST", SESSION, b'{"token": {"crt_secret": 1}}')
    assert answer.status == 400 and b"crt_secret" not in answer.body


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/api/v1/openapi.json"])
def test_every_answer_tells_a_browser_to_take_it_as_it_is(server: Served, path: str) -> None:
    headers = server.get(path).headers
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin" and "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers


def test_a_log_has_no_lines_of_a_client(server: Served) -> None:
    server.get("/a%0aERROR%20all%20is%20lost%1b%5b31m")
    assert "\nERROR all is lost" not in server.log and "\x1b" not in server.log


def test_who_asks_and_never_takes_the_answers_is_hung_up_on(server: Served) -> None:
    ask = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(ask)
    assert server.get("/healthz").status == 200
