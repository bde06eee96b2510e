"""What a client does with a server that answers something else than was asked for: it says so, and ends."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import registry.client.objects
from registry import Registry
from registry.errors import RegistryError, ServerUnreachable, UnexpectedAnswer

pytestmark = pytest.mark.services

Reply = tuple[int, dict[str, str], bytes]


class Liar:
    """A server that answers as it likes."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str], Reply] = lambda method, path: (200, {}, b"null")
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                liar.asked.append((self.command, self.path, dict(self.headers)))
                status, headers, body = liar.answer(self.command, self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def says(self, *documents: tuple[str, Any]) -> None:
        """Answer with a document where a path begins so; with nothing elsewhere."""
        found = {f"/api/v1{begin}": json.dumps(document).encode() for begin, document in documents}
        self.answer = lambda method, path: (
            200,
            {},
            next((body for begin, body in found.items() if path.startswith(begin)), b"{}"),
        )


@pytest.fixture
def liar(cache: Path) -> Iterator[Liar]:
    found = Liar()
    yield found
    found.server.shutdown()
    found.server.server_close()


VERBS: dict[str, Callable[[Registry], object]] = {
    "list": lambda hub: repr(hub.list()),
    "models": lambda hub: repr(hub.models()),
    "get": lambda hub: repr(hub.get("a")),
    "log": lambda hub: repr(hub.log()),
    "card": lambda hub: hub.card("a"),
    "state_dict": lambda hub: hub.state_dict("a"),
    "push": lambda hub: hub.push({"w": torch.zeros(3)}, "a"),
    "alias": lambda hub: hub.alias("a:v1", "b"),
    "rename": lambda hub: hub.rename("a", "b"),
    "rm": lambda hub: hub.rm("a:v1"),
}
ENTRY = {
    **{"ref": "a:v1", "name": "a", "version": 1, "digest": "0" * 64, "record_digest": "0" * 64, "seal": "0" * 64},
    **{"uid": "0" * 32, "sealed_as": "a", "metrics": {}, "aliases": [], "created_at": "2026-01-01T00:00:00+00:00"},
}


@pytest.mark.parametrize(
    "document",
    [
        *(None, 1, "x", [], {}, {"items": 5, "next": None}, {"items": [None], "next": None}),
        *({"items": [["a"]], "next": None}, {"items": [{}], "next": 7}),
        {"text": 5, "now": 7, "body": 5, "is_known": "x", "next_number": "x", "there": 5, "places": [1]},
        *({**ENTRY, "metrics": []}, {**ENTRY, "version": "1"}, {**ENTRY, "name": "../a"}, {**ENTRY, "digest": None}),
        *({**ENTRY, "metrics": {"acc": {}}}, {**ENTRY, "aliases": [5]}, {**ENTRY, "note": ["x"]}),
    ],
)
def test_what_no_server_of_ours_says_is_one_sentence(liar: Liar, document: object) -> None:
    body = json.dumps(document).encode()
    liar.answer = lambda method, path: (200, {}, body)
    for verb in VERBS.values():
        hub = Registry(liar.url)
        with pytest.raises(RegistryError):
            verb(hub)
        hub.close()


def test_pages_of_nothing_that_go_on_for_ever_end(liar: Liar) -> None:
    liar.says(("/entries", {"items": [], "next": "on"}))
    with pytest.raises(UnexpectedAnswer):
        Registry(liar.url).list()


def entry(**changed: object) -> tuple[str, Any]:
    return "/entry?", {**ENTRY, **changed}


@pytest.mark.parametrize("changed", [{"name": "../up"}, {"version": 1.5}, {"uid": None}, {"tags": {"a": 1}}])
def test_a_version_of_other_types_is_none(liar: Liar, changed: dict[str, object]) -> None:
    liar.says(entry())
    assert Registry(liar.url).get("a").ref == "a:v1"
    liar.says(entry(**changed))
    with pytest.raises(UnexpectedAnswer):
        Registry(liar.url).get("a")


@pytest.mark.parametrize("received", [0, -5, 1 << 40, "8", None])
def test_an_upload_of_which_nothing_comes_ends(liar: Liar, received: object) -> None:
    liar.says(
        ("/uploads/", {"id": "a" * 32, "received": received}),
        ("/uploads", {"id": "a" * 32, "received": 0}),
        ("/tensors", {"places": {}}),
        ("/standing", {"is_known": False, "next_number": 1}),
        ("/name", {"now": "a"}),
    )
    with pytest.raises(UnexpectedAnswer):
        Registry(liar.url).push({"w": torch.zeros(3)}, "a")


def test_the_id_of_an_upload_leads_nowhere_else(liar: Liar) -> None:
    liar.says(
        ("/uploads", {"id": "../trash", "received": 0}),
        ("/tensors", {"places": {}}),
        ("/standing", {"is_known": False, "next_number": 1}),
    )
    with pytest.raises(UnexpectedAnswer):
        Registry(liar.url).push({"w": torch.zeros(3)}, "a")
    assert not [path for method, path, _ in liar.asked if method == "PUT"]


def test_a_download_of_which_nothing_comes_ends(liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from registry.client.address import ServerAddress
    from registry.client.session import Session

    monkeypatch.setattr(registry.client.objects, "_ATTEMPTS", 2)
    liar.answer = lambda method, path: (206, {"Content-Range": "bytes 0-99/100"}, b"")
    objects = registry.client.objects.ServedObjects(Session(ServerAddress.parse(liar.url)))
    with pytest.raises(ServerUnreachable), (tmp_path / "blob").open("wb") as file:
        objects.receive("0" * 64, file.fileno())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_is_not_led_elsewhere(liar: Liar, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", "crt_secret")
    other = Liar()
    liar.answer = lambda method, path: (status, {"Location": f"{other.url}{path}"}, b"")
    for verb in VERBS.values():
        with pytest.raises(RegistryError) as said:
            verb(Registry(liar.url))
        assert "crt_secret" not in str(said.value)
    assert not other.asked
    other.server.shutdown()
    other.server.server_close()
