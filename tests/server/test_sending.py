"""Files that the connection sends by itself: the same bytes, and nothing more is believed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from served import Served, answer_on, serving

import registry

pytestmark = pytest.mark.services

WEIGHTS = "/net/resolve/v1/model.safetensors"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> registry.Registry:
    """A version whose tensors lie in two blobs, in another order than in the file, with empty and odd ones."""
    hub = registry.Registry(tmp_path_factory.mktemp("served") / "home")
    shared = {"z.weight": torch.randn(300_000), "b.scale": torch.tensor(3.0)}
    hub.push(shared, "base", from_="single")
    own = {"a.weight": torch.randn(7, 100_003), "m.none": torch.zeros(0, 3), "y.codes": torch.arange(5).to(torch.uint8)}
    hub.push({**own, **shared}, "net", from_="single")
    hub.push({"w": torch.randn(8 << 20)}, "large", from_="single")
    return hub


@pytest.fixture(scope="module")
def served(hub: registry.Registry) -> Iterator[Served]:
    with serving(hub.home) as served:
        yield served


def blob_of(hub: registry.Registry, ref: str) -> Path:
    name = max(hub._home.manifest(hub.get(ref)).blobs)
    return hub.home / "blobs" / name[:2] / f"{name}.safetensors"


def test_a_file_is_the_same_when_it_is_believed(hub: registry.Registry, served: Served, tmp_path: Path) -> None:
    expected = Path(hub.export("net:v1", tmp_path / "net.safetensors")).read_bytes()
    for _ in range(3):  # hashed at first, and believed from then on
        assert served.get(WEIGHTS).body == expected
    for begin, end in ((0, len(expected)), (1, 2_000_000), (1_500_001, len(expected) - 1), (700_000, 700_001)):
        assert served.get(WEIGHTS, Range=f"bytes={begin}-{end - 1}").body == expected[begin:end]


def test_a_connection_goes_on_after_a_file(hub: registry.Registry, served: Served) -> None:
    blob = blob_of(hub, "net:v1")
    with served.connect() as connection:
        for path in (f"/api/v1/blobs/{blob.stem}", WEIGHTS, f"/api/v1/blobs/{blob.stem}", "/healthz"):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-99999\r\n\r\n".encode())
            answer = answer_on(connection)
            assert answer.status == (200 if path == "/healthz" else 206)
            if path.endswith(blob.stem):
                assert answer.body == blob.read_bytes()[:100_000]
                assert answer.headers["content-range"] == f"bytes 0-99999/{blob.stat().st_size}"


def test_a_file_that_was_touched_is_not_believed(served: Served, hub: registry.Registry) -> None:
    hub.push({"w": torch.arange(600_000, dtype=torch.float32)}, "rotten", from_="single")
    path = "/rotten/resolve/v1/model.safetensors"
    assert served.get(path).status == served.get(path).status == 200
    blob = blob_of(hub, "rotten:v1")
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"\xff")
    assert len(served.get(path).body) < blob.stat().st_size, "a bit is flipped: it ends before its end"
    part = served.get(path, Range="bytes=2000000-2000009")
    assert part.status == 500 and b"audit" in part.body
    blob.unlink()
    assert len(served.get(path).body) < 1_500_000


def test_who_leaves_in_the_middle_of_a_file_leaves_no_trace(served: Served) -> None:
    path = "/large/resolve/v1/model.safetensors"
    assert served.get(path).status == 200
    before = len(served.log)
    for _ in range(3):
        connection = served.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(1 << 16)
        connection.close()
    time.sleep(0.5)
    assert served.get("/healthz").status == 200
    assert "Traceback" not in served.log[before:] and "ERROR" not in served.log[before:]


def test_who_takes_nothing_is_given_up(hub: registry.Registry) -> None:
    with serving(hub.home, patience=0.25) as impatient:
        with impatient.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            blob = blob_of(hub, "large:v1")
            connection.sendall(
                f"GET /api/v1/blobs/{blob.stem} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-\r\n\r\n".encode()
            )
            time.sleep(3)
            taken = 0
            try:
                while content := connection.recv(1 << 20):
                    taken += len(content)
            except ConnectionError:
                pass
        assert taken < blob.stat().st_size
        assert impatient.get("/healthz").status == 200
        assert "Traceback" not in impatient.log
