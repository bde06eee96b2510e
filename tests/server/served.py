"""A server as a process of its own, and requests as anybody can send them: byte by byte."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from registry.cli import main; main()"]


@dataclass(frozen=True)
class Answer:
    """What a server sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of the error that it is, which is worded."""
        error = self.document["error"]
        assert set(error) == {"code", "message", "fields"} and len(error["message"]) > 20, error
        assert "Traceback" not in error["message"]
        return str(error["code"])


class Served:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        assert process.stdout is not None
        self.said = process.stdout.readline()
        found = re.search(r"at http://(\S+):(\d+)", self.said)
        assert found, self.said + self.log
        self.host, self.port = found[1].strip("[]"), int(found[2])

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """What it has written on standard error."""
        return self._log.read_text()

    @property
    def resident(self) -> int:
        """Bytes of memory that it has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=60)

    def send(self, *parts: bytes) -> Answer:
        """Send bytes, and return the answer to them."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            return answer_on(connection)

    def request(
        self, method: str, path: str, body: bytes | None = None, token: str | None = None, **headers: str
    ) -> Answer:
        """Send a request; in the names of headers ``_`` is ``-``."""
        lines = {"Host": f"{self.host}:{self.port}", **{key.replace("_", "-"): each for key, each in headers.items()}}
        if method == "HEAD":
            lines.setdefault("Connection", "close")  # else its answer, which tells a length, is waited for to the end
        if token is not None:
            lines["Authorization"] = f"Bearer {token}"
        if body is not None:
            lines.setdefault("Content-Length", str(len(body)))
            lines.setdefault("Content-Type", "application/json")
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode(), body or b"")

    def get(self, path: str, token: str | None = None, **headers: str) -> Answer:
        return self.request("GET", path, None, token, **headers)

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """End it, and return how it ended."""
        self.process.send_signal(with_signal)
        return self.process.wait(60)


def answer_on(connection: socket.socket) -> Answer:
    """Read one answer."""
    with connection.makefile("rb") as stream:
        status = stream.readline().decode()
        headers = {}
        while (line := stream.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        assert status, "it was closed without an answer"
        length = int(headers.get("content-length", 0))
        return Answer(int(status.split()[1]), headers, stream.read(length))


@contextlib.contextmanager
def serving(home: Path, *options: str, patience: float | None = None, **environment: str) -> Iterator[Served]:
    """Serve a home for as long as it is used.

    Args:
        patience: seconds that it waits for the rest of a request, where that is not as usual.
    """
    command = [*COMMAND, "serve", "--home", str(home), *options]
    if patience is not None:
        impatient = f"import sys; from registry.server import settings; settings.PATIENCE = {patience}; "
        command[2] = impatient + command[2]
    command += [] if "--port" in options else ["--port", "0"]
    log = home.with_name(f"{home.name}.log")
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **environment}
        )
    try:
        yield Served(process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            if process.stdout is not None:
                process.stdout.close()


def refused_to_serve(home: Path, *options: str) -> str:
    """Return the sentence with which ``registry serve`` ends at once."""
    done = subprocess.run(
        [*COMMAND, "serve", "--home", str(home), *options], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr
