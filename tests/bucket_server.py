"""A server of buckets for the tests: seaweedfs, which speaks S3."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

KEY, SECRET, BUCKET = "tester", "a-secret-of-the-tests", "registry-tests"

FILER_VARIABLE, ENDPOINT_VARIABLE = "REGISTRY_TEST_FILER", "AWS_ENDPOINT_URL"
"""Where a server is that another process of the tests has started: its files, and what speaks S3."""

_SECONDS = 120.0
"""It may take to start on a busy machine."""


@dataclass
class Buckets:
    """A server, and one bucket in it."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    @property
    def filer(self) -> str:
        """Where the files of all buckets are, for who asks without S3."""
        return f"http://127.0.0.1:{self.ports['filer.port']}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to have that uses it."""
        return {
            ENDPOINT_VARIABLE: self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def fresh(self) -> str:
        """Return the URL of a place in the bucket that nobody else has."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex}"

    def start(self) -> None:
        if not self.ports:
            names = ("master.port", "volume.port", "filer.port", "s3.port", "admin.port", "s3.port.iceberg")
            self.ports = dict(zip((*names, *(f"{name}.grpc" for name in names[:5])), free_ports(11), strict=True))
            identity = {
                "name": KEY,
                "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
            (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        weed = Path(sys.executable).with_name("weed")
        command = [
            os.fspath(weed) if weed.exists() else "weed",
            "mini",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.config={self.folder / 's3.json'}",
            f"-bucket={BUCKET}",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            *(f"-{name}={port}" for name, port in self.ports.items()),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, start_new_session=True
            )
        self._wait()

    def stop(self) -> None:
        """Kill it, as a machine that goes down does; what it has stored stays."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _wait(self) -> None:
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            if (
                self._answers(f"{self.endpoint}/{BUCKET}")
                and self._answers(self._folder_of_the_bucket)
                and self._keeps()
            ):
                return
            time.sleep(0.1)
        raise AssertionError(f"the server of buckets does not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _keeps(self) -> bool:
        """Whether what is written can be read: where contents are, is known some time after all ports are open."""
        request = urllib.request.Request(f"{self.filer}/ready", data=b"bytes", method="PUT")
        return self._answers(request) and self._answers(f"{self.filer}/ready")

    @property
    def _folder_of_the_bucket(self) -> str:
        return f"{self.filer}/buckets/{BUCKET}/?limit=1"

    @staticmethod
    def _answers(url: str | urllib.request.Request) -> bool:
        """Whether there is something, be it that it asks who this is; asked without the library that is tested."""
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError as error:
            return error.code == 403
        except OSError:
            return False
        return True


def buckets_of_environment() -> Buckets:
    """Return the server that another process of the tests has started."""
    urls = {"s3.port": os.environ[ENDPOINT_VARIABLE], "filer.port": os.environ[FILER_VARIABLE]}
    return Buckets(Path(), {name: int(url.rpartition(":")[2]) for name, url in urls.items()})


@contextlib.contextmanager
def buckets_in(folder: Path) -> Iterator[Buckets]:
    """Run a server as long as the block takes."""
    server = Buckets(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Meter:
    """A proxy before the server, which counts what is fetched of each object through it.

    It answers at a port of its own, and passes on what is asked as it is: a request is signed with the host it names.
    """

    def __init__(self, endpoint: str) -> None:
        self._to = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.received = 0
        """Bytes that came from the server."""
        self.gets: Counter[str] = Counter()
        """How often each path was asked for."""
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listening.accept()[0]
                server = socket.create_connection(self._to)
            except OSError:
                return
            for source, target, count in ((client, server, self._asked), (server, client, self._answered)):
                threading.Thread(target=self._pass_on, args=(source, target, count), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, count: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(1 << 16):
                count(content)
                target.sendall(content)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _asked(self, content: bytes) -> None:
        if content.startswith(b"GET "):
            with self._lock:
                self.gets[content.split(b" ", 2)[1].decode()] += 1

    def _answered(self, content: bytes) -> None:
        with self._lock:
            self.received += len(content)
