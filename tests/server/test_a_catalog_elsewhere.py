"""A server whose home has its catalog on PostgreSQL."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from databases import Server, configure
from served import serving

from registry import Registry

pytestmark = pytest.mark.services


def test_clients_push_at_once_over_http_and_all_of_it_is_in_the_database(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = postgres.schema()
    home = configure(tmp_path / "home", address)
    owner = Registry(home)
    monkeypatch.setenv("REGISTRY_TOKEN", owner.add_token("ann", role="write").text)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving(home) as server:
        assert json.loads(server.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").body)

        def push(who: int) -> None:
            hub = Registry(server.url)
            for step in range(3):
                hub.push({"w": torch.full((4,), float(10 * who + step))}, "net", from_="single")

        threads = [threading.Thread(target=push, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(Registry(server.url).list("net")) == 12
    assert [entry.version for entry in owner.list("net")] == list(range(12, 0, -1))
    assert owner.audit().is_clean and {event.actor for event in owner.log("net")} == {"ann"}
    owner.close()
    postgres.drop(address)
