"""Tokens over HTTP: who is taken for whom, until when, and what a browser has in their place."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from served import Answer, Served, serving

from registry import Registry
from registry.errors import NotAllowed, TokenNeeded

pytestmark = pytest.mark.services

WHOAMI, SESSION = "/api/v1/whoami", "/api/v1/session"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def hub(home: Path) -> Iterator[Registry]:
    hub = Registry(home)
    yield hub
    hub.close()


@pytest.fixture
def server(home: Path) -> Iterator[Served]:
    with serving(home, "--no-anonymous") as found:
        yield found
        assert "Traceback" not in found.log, found.log


def test_a_token_is_its_user_with_its_role(hub: Registry, server: Served) -> None:
    made = hub.add_token("ann", role="write", models=["team/*"], expires=timedelta(days=90))
    said = server.get(WHOAMI, made.text).document
    assert (said["user"], said["role"], said["models"]) == ("ann", "write", ["team/*"])
    assert made.token.expires_at is not None and said["expires_at"].startswith(made.token.expires_at.isoformat()[:19])


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text + "x", str.upper, lambda text: ""])
def test_what_is_nearly_a_token_is_none(hub: Registry, server: Served, change) -> None:
    answer = server.get(WHOAMI, change(hub.add_token("ann").text))
    assert (answer.status, answer.code) == (401, "wrong-token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("given", ["Basic YW5uOmNydA==", "Bearer", "crt_x", "Bearer crt_ü", "Bearer a b"])
def test_another_kind_of_proof_is_none(server: Served, given: str) -> None:
    assert server.get(WHOAMI, Authorization=given).status == 401


def test_two_proofs_are_refused(hub: Registry, server: Served) -> None:
    token = hub.add_token("ann").text
    sent = f"GET {WHOAMI} HTTP/1.1\r\nHost: localhost\r\n" + 2 * f"Authorization: Bearer {token}\r\n" + "\r\n"
    assert server.send(sent.encode()).code == "invalid-request"


def test_a_revoked_token_is_refused_on_the_connection_that_it_opened(hub: Registry, server: Served) -> None:
    made = hub.add_token("ann")
    head = f"GET {WHOAMI} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {made.text}\r\n\r\n".encode()
    with server.connect() as connection:
        statuses = []
        for revoke in (False, True):
            if revoke:
                hub.revoke_token(made.token.number)
            connection.sendall(head)
            statuses.append(read_status(connection))
    assert statuses == [200, 401]


def read_status(connection) -> int:
    from served import answer_on

    return answer_on(connection).status


def test_a_token_ends_when_its_time_does(hub: Registry, server: Served) -> None:
    token = hub.add_token("ann", expires=timedelta(seconds=2)).text
    assert server.get(WHOAMI, token).status == 200
    time.sleep(2.1)
    assert server.get(WHOAMI, token).status == 401


def test_it_is_noted_when_a_token_was_used_and_not_each_time(hub: Registry, server: Served) -> None:
    token = hub.add_token("ann").text
    assert hub.tokens()[0].last_used_at is None
    server.get(WHOAMI, token)
    deadline = time.monotonic() + 20
    while hub.tokens()[0].last_used_at is None and time.monotonic() < deadline:
        time.sleep(0.05)
    first = hub.tokens()[0].last_used_at
    assert first is not None
    server.get(WHOAMI, token)
    time.sleep(0.3)
    assert hub.tokens()[0].last_used_at == first
    assert len(hub.log()) == 1 and hub.audit().is_clean


def test_a_home_that_is_locked_answers_still_whose_a_token_is(hub: Registry, home: Path, server: Served) -> None:
    token = hub.add_token("ann").text
    with closing(sqlite3.connect(home / "registry.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert server.get(WHOAMI, token).status == 200
        other.execute("ROLLBACK")


def test_without_a_token_nobody_is_anybody(server: Served) -> None:
    said = server.get(WHOAMI).document
    assert (said["user"], said["role"]) == (None, "none")


@pytest.mark.parametrize(
    ("options", "headers", "role"),
    [
        ((), {}, "read"),
        (("--no-anonymous",), {}, "none"),
        (("--anonymous", "--host", "0.0.0.0"), {}, "read"),
        (("--host", "0.0.0.0"), {}, "none"),
        (("--allowed-host", "hub.example"), {}, "none"),
        (("--allowed-host", "hub.example", "--anonymous"), {}, "read"),
        ((), {"X_Forwarded_For": "203.0.113.9"}, "none"),
        ((), {"Via": "1.1 nginx"}, "none"),
        (("--anonymous",), {"X_Forwarded_For": "203.0.113.9"}, "read"),
    ],
)
def test_who_may_read_without_a_token(home: Path, options, headers, role) -> None:
    with serving(home, *options) as server:
        server.host = "127.0.0.1"
        assert server.get(WHOAMI, **headers).document["role"] == role


def cookie_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    cookie, *rest = answer.headers["set-cookie"].split("; ")
    assert {each.lower() for each in rest} >= {"httponly", "samesite=strict", "path=/"}
    return cookie


def log_in(server: Served, token: str, **headers: str) -> Answer:
    return server.request("POST", SESSION, f'{{"token": "{token}"}}'.encode(), **headers)


def test_a_browser_has_a_session_in_the_place_of_a_token(hub: Registry, server: Served, home: Path) -> None:
    token = hub.add_token("ann", role="write").text
    cookie = cookie_of(log_in(server, token))
    assert token not in cookie
    assert server.get(WHOAMI, Cookie=cookie).document["user"] == "ann"
    assert (home / "server.key").stat().st_mode & 0o777 == 0o600


def test_a_session_over_tls_stays_there(hub: Registry, server: Served) -> None:
    answer = log_in(server, hub.add_token("ann").text, X_Forwarded_Proto="https")
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_session_ends_with_its_token(hub: Registry, server: Served) -> None:
    made = hub.add_token("ann")
    cookie = cookie_of(log_in(server, made.text))
    hub.revoke_token("ann")
    assert server.get(WHOAMI, Cookie=cookie).document["user"] is None


def test_a_session_outlives_its_server_and_is_of_its_home_alone(hub: Registry, home: Path, tmp_path: Path) -> None:
    token = hub.add_token("ann").text
    with serving(home, "--no-anonymous") as server:
        cookie = cookie_of(log_in(server, token))
    with serving(home, "--no-anonymous") as server:
        assert server.get(WHOAMI, Cookie=cookie).document["user"] == "ann"
    Registry(tmp_path / "other").add_token("ann")
    with serving(tmp_path / "other", "--no-anonymous") as server:
        assert server.get(WHOAMI, Cookie=cookie).document["user"] is None


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_session_that_was_edited_is_none(hub: Registry, server: Served, at: int) -> None:
    hub.add_token("bob")
    hub.add_token("eve")
    parts = cookie_of(log_in(server, hub.add_token("ann").text)).split("=", 1)[1].split(".")
    parts[at] = {0: "1", 1: str(int(parts[1]) + 1), 2: "0" * 64}[at]
    assert server.get(WHOAMI, Cookie=f"registry_session={'.'.join(parts)}").document["user"] is None


@pytest.mark.parametrize(
    "cookie", ["", "..", "1.2", "x.9999999999.y", "1.99999999999999999999.é", "٣.9999999999.a", 'a"b']
)
def test_a_cookie_that_is_no_session_is_none(server: Served, cookie: str) -> None:
    assert server.get(WHOAMI, Cookie=f"registry_session={cookie}").document["user"] is None


def test_a_session_changes_things_from_this_servers_pages_alone(hub: Registry, server: Served) -> None:
    cookie = cookie_of(log_in(server, hub.add_token("ann", role="admin").text))
    assert server.request("DELETE", SESSION, Cookie=cookie).code == "foreign-origin"
    for origin in ("http://evil.example", "null"):
        answer = server.request("DELETE", SESSION, Cookie=cookie, Origin=origin)
        assert (answer.status, answer.code) == (403, "foreign-origin")
    answer = server.request("DELETE", SESSION, Cookie=cookie, Origin=server.url)
    assert answer.status == 204 and 'registry_session=""' in answer.headers["set-cookie"]


def test_a_page_elsewhere_logs_nobody_in(hub: Registry, server: Served) -> None:
    assert log_in(server, hub.add_token("ann").text, Origin="http://evil.example").status == 403


def test_a_wrong_token_begins_no_session(server: Served) -> None:
    answer = log_in(server, "crt_wrong")
    assert (answer.status, answer.code) == (401, "wrong-token") and "set-cookie" not in answer.headers


def test_each_role_may_do_what_those_before_it_may() -> None:
    from registry.server.access import Caller, Role

    for role in (Role.READ, Role.WRITE, Role.ADMIN):
        caller = Caller("ann", role)
        assert [caller.may(each) for each in (Role.READ, Role.WRITE, Role.ADMIN)] == [True, role >= 2, role >= 3]


@pytest.mark.parametrize(
    ("pattern", "name", "is_meant"),
    [
        *[("*", "net", True), ("*", "team/net", True), ("team/*", "team/net", True), ("team/*", "teams/net", False)],
        *[("team/*", "team", False), ("net", "net", True), ("net", "NET", False), ("net?", "net1", True)],
        *[("*/net", "a/net", True), ("*/net", "net", False), ("t", "team/t", False)],
    ],
)
def test_a_token_is_for_the_models_of_its_patterns(pattern: str, name: str, is_meant: bool) -> None:
    from registry.server.access import Caller, Role

    caller = Caller("ann", Role.WRITE, (pattern,))
    assert caller.may(Role.WRITE, name) is is_meant
    assert not caller.may(Role.ADMIN, name)


def test_what_is_not_allowed_is_said_with_whose_token_it_was() -> None:
    from registry.server.access import Caller, Role

    with pytest.raises(NotAllowed, match="the token of ann does not give the role 'write' for other/net"):
        Caller("ann", Role.WRITE, ("team/*",)).require(Role.WRITE, "other/net")
    with pytest.raises(TokenNeeded, match="registry login"):
        Caller(None, Role.READ).require(Role.WRITE, "net")
