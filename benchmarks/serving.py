"""A served home, against uvicorn sending the plain file and answering with the same bytes at once."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from statistics import quantiles
from urllib.parse import quote, urlsplit

import torch

from benchmarks import children
from benchmarks.loading import ALL_CORES, hash_on_all_cores
from benchmarks.row import Floor, Row, at_least, at_most
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Workshop
from registry import Registry

CLIENTS = (1, 8, 32)
_TENSORS = 16
_PIECE = 1 << 20

SENDING = "one process that reads, frames and sends in Python, and on the same cores the client that takes it"
FETCHING = "the client's blake3 and the disk, beside the server on the same cores"
ASKING = "one process of Python: the framework, a thread for the catalog, and its statements"
TWICE = "the bytes are written and hashed on both sides, in the client's cache and in the home"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Serve a home and the plain file, and ask both in turn."""
    what = f"download of {_size(workshop.scale.served)} from a served home"
    if find_spec("uvicorn") is None or find_spec("fastapi") is None:
        yield Row(
            "serving",
            what,
            "uvicorn sending the plain file",
            at_least(0.7),
            skipped="the server extra is not installed",
        )
        return
    folder = workshop.fresh_folder("serving")
    registry = Registry(folder / "home")
    registry.push(_state(workshop.scale.served), "served", from_="single", aliases=["best"], metrics={"accuracy": 0.5})
    registry.export("served", folder / "plain.safetensors")
    token = registry.add_token("bench", role="admin").text
    of_the_client = told(XDG_CACHE_HOME=str(folder / "cache"), REGISTRY_TOKEN=token)
    with of_the_client, serving(folder / "home") as hub, _plain(folder) as plain:
        yield from _downloads(workshop, folder, hub, plain)
        yield from _requests(workshop, hub, plain)
        yield from _pushes(workshop, folder, hub, plain)
    registry.close()
    shutil.rmtree(folder)


class Server:
    """A server as a process of its own, and where it is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        found = re.search(r"http://(\S+):(\d+)", process.stdout.readline())
        if found is None:
            raise RuntimeError("a server did not start")
        self.host, self.port = found[1], int(found[2])

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def anonymous_bytes(self) -> int:
        """Its memory that no file backs."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found is not None else 0

    @property
    def threads(self) -> int:
        """How many it has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))


@contextlib.contextmanager
def serving(home: Path, *options: str) -> Iterator[Server]:
    """Serve a home by the command that users have."""
    command = [sys.executable, "-c", children.COMMAND, "serve", "--home", str(home), "--port", "0", *options]
    with _ended(command, home.with_name(f"{home.name}.log")) as server:
        yield server


@contextlib.contextmanager
def _plain(folder: Path) -> Iterator[Server]:
    code = "import sys; from benchmarks.serving import serve_plainly; serve_plainly(sys.argv[1])"
    with _ended([sys.executable, "-c", code, str(folder)], folder / "plain.log") as server:
        yield server


@contextlib.contextmanager
def _ended(command: list[str], log: Path) -> Iterator[Server]:
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=children.environment()
        )
    try:
        yield Server(process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()


def serve_plainly(folder: str) -> None:
    """Send a file and an answer, and throw away what comes, as one writes it first: with starlette and uvicorn.

    The same answer is there by FastAPI, from a thread, for a parameter that it reads.
    """
    import uvicorn
    from fastapi import FastAPI
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
    from starlette.routing import Mount, Route

    class Pieces(FileResponse):
        chunk_size = _PIECE

    async def file(request: Request) -> Response:
        return Pieces(Path(folder) / "plain.safetensors")

    async def answer(request: Request) -> Response:
        return Response((Path(folder) / "answer.json").read_bytes(), media_type="application/json")

    async def nowhere(request: Request) -> Response:
        async for _ in request.stream():
            pass
        return Response()

    framework = FastAPI()

    @framework.get("/answer")
    def answer_from_thread(ref: str) -> Response:
        return Response((Path(folder) / "answer.json").read_bytes(), media_type="application/json")

    routes = [Route("/file", file), Route("/answer", answer), Route("/nowhere", nowhere, methods=["PUT"])]
    app = Starlette(routes=[*routes, Mount("/framework", framework)])
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or Nagle waits
    listening.bind(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, http="h11", loop="asyncio", ws="none", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


@contextlib.contextmanager
def told(**variables: str) -> Iterator[None]:
    """Set variables of the environment inside the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# The bytes


def _downloads(workshop: Workshop, folder: Path, hub: Server, plain: Server) -> Iterator[Row]:
    """Each with a plain download that leaves behind what it does: nothing, or a file on the disk."""
    what, against = f"download of {_size(workshop.scale.served)}", "uvicorn sending the plain file"
    copy, cache = folder / "copy.safetensors", folder / "cache"
    virtual, file = "/served/resolve/main/model.safetensors", "/file"

    def empty() -> None:
        copy.unlink(missing_ok=True)
        shutil.rmtree(cache, ignore_errors=True)
        os.sync()

    def fetched() -> None:
        Registry(hub.url).state_dict("served:best")

    def kept_and_hashed() -> None:
        download(plain, file, copy)
        hash_on_all_cores(copy)

    download(hub, virtual)  # hashed now, and believed from then on
    grown: list[float] = []

    def watched() -> float:
        with Watched(hub) as watch:
            seconds = timed(lambda: download(hub, virtual))()
        grown.append(max(watch.grown, mmap.PAGESIZE) / 1e6)
        return seconds

    figures = rounds(
        {
            "client": timed(fetched, before=empty),
            "plain, kept": timed(lambda: download(plain, file, copy), before=empty),
            "plain, kept, hashed": timed(kept_and_hashed, before=empty),
            "hub": watched,
            "plain": timed(lambda: download(plain, file)),
        },
        workshop.pairs,
    )
    empty()
    yield Row(
        "serving", f"{what} by our client: fetched, verified, durable", f"{against}, into a file with fsync",
        at_least(0.7), "s", figures["client"], figures["plain, kept"], limit=FETCHING,
        floor=Floor(f"that download, then {ALL_CORES}", figures["plain, kept, hashed"]),
    )  # fmt: skip
    yield Row(
        "serving", f"{what} as the Hub's model.safetensors, thrown away", f"{against}, thrown away", at_least(0.7),
        "s", figures["hub"], figures["plain"], limit=SENDING,
    )  # fmt: skip
    whole = (workshop.scale.served / 1e6,) * len(grown)
    yield Row(
        "serving", "memory of the server that the download takes", "bytes of the file", at_most(0.05), "MB",
        tuple(grown), whole, limit="the pieces between reading and sending",
    )  # fmt: skip


def download(server: Server, path: str, target: Path | None = None) -> int:
    """Take an answer's bytes as fast as they come, into a durable file or nowhere; return how many they were."""
    memory = memoryview(bytearray(_PIECE))
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((server.host, server.port), timeout=120))
        file = stack.enter_context(target.open("wb")) if target is not None else None
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(1 << 16)
            if not received:
                raise RuntimeError("a server closed a connection")
            head += received
        head, _, content = head.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise RuntimeError(head.decode("latin-1"))
        nbytes = len(content)
        if file is not None:
            file.write(content)
        while received_bytes := connection.recv_into(memory):
            nbytes += received_bytes
            if file is not None:
                file.write(memory[:received_bytes])
        if file is not None:
            file.flush()
            os.fsync(file.fileno())
    if nbytes != int(length[1]):
        raise RuntimeError(f"{nbytes} of {int(length[1])} bytes came")
    return nbytes


def upload(server: Server, path: str, nbytes: int) -> None:
    """Send so many bytes as fast as they are taken."""
    memory = memoryview(bytes(_PIECE))
    with socket.create_connection((server.host, server.port), timeout=120) as connection:
        head = f"PUT {path} HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: {nbytes}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        for begin in range(0, nbytes, _PIECE):
            connection.sendall(memory[: nbytes - begin])
        answer = connection.recv(1 << 16)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode("latin-1"))


class Watched:
    """By how much a server's anonymous memory grew inside the block, at most."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = self._most = server.anonymous_bytes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def grown(self) -> int:
        """Bytes."""
        return self._most - self._before

    def _sample(self) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, self._server.anonymous_bytes)


# Small answers


def _requests(workshop: Workshop, hub: Server, plain: Server) -> Iterator[Row]:
    path = f"/api/v1/entry?ref={quote('served:best')}"
    answer = _Connection(hub.url).get(path)
    (workshop.folder / "serving" / "answer.json").write_bytes(answer)
    for clients in CLIENTS:
        taken: list[float] = []
        sides: dict[str, Callable[[], float]] = {
            "hub": lambda clients=clients, taken=taken: _asked(hub, path, clients, workshop.scale.requests, taken),
            "plain": lambda clients=clients: _asked(plain, "/answer", clients, workshop.scale.requests, []),
            "framework": lambda clients=clients: _asked(
                plain, "/framework/answer?ref=served", clients, workshop.scale.requests, []
            ),
        }
        figures = rounds(sides, workshop.pairs)
        each = {side: tuple(1000 * seconds for seconds in values) for side, values in figures.items()}
        places = quantiles(taken, n=100)
        rate = 1 / min(figures["hub"])
        yield Row(
            "serving", f"an entry by HTTP, {clients} clients at once, for each", "uvicorn answering with those bytes",
            at_most(10), "ms", each["hub"], each["plain"],
            remark=f"{rate:.0f} a second; p50 {1000 * places[49]:.1f} ms, p99 {1000 * places[98]:.1f} ms", limit=ASKING,
            floor=Floor("FastAPI answering with them from a thread", each["framework"]),
        )  # fmt: skip


def _asked(server: Server, path: str, clients: int, requests: int, taken: list[float]) -> float:
    """Ask from so many connections at once; return the seconds for each request, and add how long each one took."""
    barrier = threading.Barrier(clients + 1)
    failures: list[BaseException] = []

    def ask() -> None:
        connection = _Connection(server.url)
        connection.get(path)
        barrier.wait()
        try:
            for _ in range(requests // clients):
                begin = time.perf_counter()
                connection.get(path)
                taken.append(time.perf_counter() - begin)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    barrier.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return (time.perf_counter() - begin) / (requests // clients * clients)


class _Connection:
    """A connection that is kept, with as little around it as possible."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host = place.netloc
        self._socket = socket.create_connection((place.hostname, place.port), timeout=60)

    def get(self, path: str) -> bytes:
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        content = b""
        while b"\r\n\r\n" not in content:
            content += self._received()
        head, _, body = content.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise RuntimeError(head.decode("latin-1"))
        while len(body) < int(length[1]):
            body += self._received()
        return body

    def _received(self) -> bytes:
        content = self._socket.recv(1 << 16)
        if not content:
            raise RuntimeError("a server closed a connection")
        return content


# A push


def _pushes(workshop: Workshop, folder: Path, hub: Server, plain: Server) -> Iterator[Row]:
    seeds = iter(range(1, 1000))
    states: list[dict[str, torch.Tensor]] = []
    homes = [Registry(folder / name) for name in ("home", "local", "again")]
    for home in homes[1:]:
        home.push({"weight": torch.zeros(1)}, "served", from_="single")

    def fresh() -> None:
        states[:] = [_state(workshop.scale.served, next(seeds))]
        for home in homes:
            if home.list("pushed*"):
                home.rm([entry.ref for entry in home.list("pushed*")], force=True)
            home.gc(grace=timedelta(0))
        shutil.rmtree(folder / "cache", ignore_errors=True)
        os.sync()

    def pushed(place: str | Path) -> None:
        Registry(place).push(states[0], "pushed", from_="single")

    def twice_and_sent() -> None:
        for name in ("local", "again"):
            pushed(folder / name)
        upload(plain, "/nowhere", workshop.scale.served)

    figures = rounds(
        {
            "server": timed(lambda: pushed(hub.url), before=fresh),
            "local": timed(lambda: pushed(folder / "local"), before=fresh),
            "twice and sent": timed(twice_and_sent, before=fresh),
        },
        workshop.pairs,
    )
    for home in homes:
        home.close()
    yield Row(
        "serving", f"push of {_size(workshop.scale.served)} over HTTP to this machine", "the same push to a local home",
        at_most(3), "s", figures["server"], figures["local"], limit=TWICE,
        floor=Floor("that push to two local homes and a plain upload to uvicorn", figures["twice and sent"]),
    )  # fmt: skip


def _state(nbytes: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return tensors of so many bytes in all, which no other seed has."""
    generator = torch.Generator().manual_seed(seed)
    count = nbytes // 4 // _TENSORS
    return {f"layer{number}.weight": torch.randn(count, generator=generator) for number in range(_TENSORS)}


def _size(nbytes: int) -> str:
    return f"{nbytes >> 30} GiB" if nbytes >= 1 << 30 else f"{nbytes >> 20} MiB"
