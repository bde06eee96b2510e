"""Large bodies, which come past what parses HTTP: the same bytes, and the requests behind them as ever."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from served import Served, answer_on, serving

import registry
from registry.client.objects import tensors_of

pytestmark = pytest.mark.services

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSING = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A blob of 9 MB: a tensor without elements, small ones, and two large ones that no piece has as a whole."""
    hub = registry.Registry(tmp_path_factory.mktemp("elsewhere") / "home")
    sizes = {"none": 0, "bias": 3, "first": 1 << 20, "second": 5 << 18}
    hub.push({name: torch.randn(size) for name, size in sizes.items()}, "net", from_="single")
    (digest,) = hub._home.manifest(hub.get("net")).blobs
    return hub.home / "blobs" / digest[:2] / f"{digest}.safetensors"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def token(home: Path) -> str:
    return registry.Registry(home).add_token("ada", role="write").text


@pytest.fixture
def served(home: Path, token: str) -> Iterator[Served]:
    with serving(home, patience=2.0) as served:
        yield served


@pytest.fixture
def head(served: Served, token: str, blob: Path) -> Callable[..., bytes]:
    """Begin an upload, and return what makes the head of a request that brings a part of it."""
    new = {"blob": blob.stem, "nbytes": blob.stat().st_size, "tensors": tensors_of(blob, blob.stem)}
    begun = served.request("POST", "/api/v1/uploads", json.dumps(new).encode(), token).document

    def head(at: int, nbytes: int, *more: str) -> bytes:
        lines = ["Host: localhost", f"Authorization: Bearer {token}", f"Content-Length: {nbytes}", *more]
        return "\r\n".join([f"PUT /api/v1/uploads/{begun['id']}?at={at} HTTP/1.1", *lines, "", ""]).encode()

    return head


def is_stored(home: Path, blob: Path) -> bool:
    """Whether a home has the very bytes of a blob of another one."""
    return (home / "blobs" / blob.stem[:2] / blob.name).read_bytes() == blob.read_bytes()


@pytest.mark.parametrize("pieces", [[10 << 20], [3_000_001, 10 << 20], [2_500_000, 2_500_000, 100, 10 << 20]])
def test_it_is_what_was_sent_and_the_connection_goes_on(
    served: Served, home: Path, blob: Path, head: Callable[..., bytes], pieces: list[int]
) -> None:
    content, at = blob.read_bytes(), 0
    with served.connect() as connection:
        for piece in (content[sum(pieces[:n]) : sum(pieces[: n + 1])] for n in range(len(pieces))):
            connection.sendall(head(at, len(piece)) + piece)
            at += len(piece)
            answer = answer_on(connection)
            assert (answer.status, answer.document["received"]) == (200, at)
        connection.sendall(HEALTH)
        assert answer_on(connection).status == 200
    assert is_stored(home, blob)


def test_requests_may_follow_before_it_is_answered(
    served: Served, home: Path, blob: Path, head: Callable[..., bytes]
) -> None:
    content = blob.read_bytes()
    with served.connect() as connection:
        connection.sendall(head(0, len(content)) + content + HEALTH + CLOSING)
        answers = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answers.count(b"HTTP/1.1 200") == 3
    assert is_stored(home, blob)


def test_who_sends_slowly_is_waited_for(served: Served, home: Path, blob: Path, head: Callable[..., bytes]) -> None:
    content = blob.read_bytes()
    with served.connect() as connection:
        connection.sendall(head(0, len(content)) + content[:-30])
        for at in range(len(content) - 30, len(content), 3):  # longer in all than it has patience for silence
            time.sleep(0.3)
            connection.sendall(content[at : at + 3])
        assert answer_on(connection).status == 200
    assert is_stored(home, blob)


def test_who_sends_slowly_behind_another_request_is_waited_for_too(
    served: Served, home: Path, blob: Path, head: Callable[..., bytes]
) -> None:
    content = blob.read_bytes()
    with served.connect() as connection:
        connection.sendall(HEALTH + head(0, len(content)) + content[:-40])
        assert answer_on(connection).status == 200
        for at in range(len(content) - 40, len(content)):  # longer than the rest of a body that nobody reads may take
            time.sleep(0.3)
            connection.sendall(content[at : at + 1])
        assert answer_on(connection).status == 200
    assert is_stored(home, blob)


def test_who_stops_or_leaves_may_go_on_later(
    served: Served, home: Path, blob: Path, head: Callable[..., bytes]
) -> None:
    content = blob.read_bytes()
    with served.connect() as connection:
        connection.sendall(head(0, len(content)) + content[:5_000_000])
        answer = answer_on(connection)
        assert (answer.status, answer.code) == (408, "slow-request")
    with served.connect() as connection:
        connection.sendall(head(0, len(content)) + content[:5_000_000])
    for _ in range(50):
        with served.connect() as connection:
            connection.sendall(head(0, len(content)) + content)
            answer = answer_on(connection)
        if answer.status == 200:
            break
        assert answer.code == "upload-elsewhere", "the one who left is still there"
        time.sleep(0.1)
    assert is_stored(home, blob)


def test_what_is_refused_is_answered_and_the_connection_goes_on(
    served: Served, blob: Path, head: Callable[..., bytes]
) -> None:
    content = blob.read_bytes()
    damaged = bytearray(content)
    damaged[4_300_000] ^= 1
    with served.connect() as connection:
        for at, part, code in [
            (77, content[77:], "upload-elsewhere"),
            (0, content[:3_000_000], None),
            (3_000_000, bytes(damaged[3_000_000:]), "false-claim"),
            (3_000_000, content[3_000_000:], "upload-gone"),
        ]:
            connection.sendall(head(at, len(part)) + part)
            answer = answer_on(connection)
            assert answer.status == 200 if code is None else answer.code == code
        connection.sendall(HEALTH)
        assert answer_on(connection).status == 200


def chunks(content: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:4_000_000], content[4_000_000:], b""))


def test_a_length_beside_chunks_is_none(served: Served, home: Path, blob: Path, head: Callable[..., bytes]) -> None:
    content = blob.read_bytes()
    with served.connect() as connection:
        connection.sendall(head(0, 3 << 20, "Transfer-Encoding: chunked") + chunks(content))
        assert answer_on(connection).status == 200
    assert is_stored(home, blob)


def test_what_comes_behind_the_length_that_was_said_is_checked(
    served: Served, blob: Path, head: Callable[..., bytes]
) -> None:
    damaged = bytearray(blob.read_bytes())
    damaged[-1] ^= 1
    with served.connect() as connection:
        connection.sendall(head(0, 3 << 20, "Transfer-Encoding: chunked") + chunks(bytes(damaged)))
        assert answer_on(connection).code == "false-claim"


def test_a_thread_is_waited_for_also_by_who_is_canceled() -> None:
    from registry.server.receiving import in_thread

    began, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        may_end.wait(20)
        has_ended.set()

    async def cancel() -> None:
        task = asyncio.ensure_future(in_thread(work))
        await asyncio.to_thread(began.wait, 20)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert has_ended.is_set()

    asyncio.run(cancel())


@pytest.mark.parametrize("pause", [0.0, 0.004, 0.15])
def test_it_is_the_same_however_fast_it_comes(
    served: Served, home: Path, blob: Path, head: Callable[..., bytes], pause: float
) -> None:
    content, step = blob.read_bytes(), 333_333
    with served.connect() as connection:
        connection.sendall(head(0, len(content)))
        for at in range(0, len(content), step):
            connection.sendall(content[at : at + step])
            time.sleep(pause)
        assert answer_on(connection).status == 200
    assert is_stored(home, blob)


def test_who_leaves_leaves_no_memory_behind(served: Served, head: Callable[..., bytes]) -> None:
    def leave(times: int) -> None:
        for _ in range(times):
            with served.connect() as connection:
                connection.sendall(head(0, 9 << 20) + bytes(2 << 20))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert served.get("/healthz").status == 200

    leave(20)
    before = served.resident
    leave(80)
    assert served.resident - before < 30 << 20


def test_an_upload_goes_on_where_no_descriptor_is_left(
    served: Served, home: Path, blob: Path, head: Callable[..., bytes]
) -> None:
    content = blob.read_bytes()
    with served.connect() as connection:
        connection.sendall(head(0, 6 << 20) + content[: 3 << 20])
        time.sleep(0.5)
        held = len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))
        before = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (held, before[1]))
        connection.sendall(content[3 << 20 : 5 << 20])
        time.sleep(0.5)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, before)
        connection.sendall(content[5 << 20 : 6 << 20])
        assert answer_on(connection).status == 200
        connection.sendall(head(6 << 20, len(content) - (6 << 20)) + content[6 << 20 :])
        assert answer_on(connection).status == 200
    assert is_stored(home, blob) and "Traceback" not in served.log


def test_what_fails_in_a_thread_of_a_canceled_request_is_no_fault() -> None:
    from registry.server.receiving import in_thread

    may_fail, told = threading.Event(), []

    def fail() -> None:
        may_fail.wait(20)
        raise ValueError

    async def cancel() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        task = asyncio.ensure_future(in_thread(fail))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        may_fail.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(cancel())
    assert not told
