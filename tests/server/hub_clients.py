"""A real server of a home, and the real clients of the Hub in processes of their own."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REGISTRY = str(Path(sys.executable).parent / "registry")
OPERATORS = Path(__file__).parents[1] / "ecosystem"
ARCHITECTURES = Path(__file__).parents[1] / "architectures"
sys.path.insert(0, str(OPERATORS))
importlib.import_module("vision_operators")  # for timm and transformers in this process


@dataclass(frozen=True)
class Answered:
    """What the server said."""

    status: int
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A home behind a server."""

    url: str
    home: Path
    cache: Path
    """Of the clients."""
    process: subprocess.Popen[str]
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, user: str = "ann", role: str = "write", models: str = "*") -> str:
        """Return a token of a user, made by the command that everybody uses."""
        key = f"{user} {role} {models}"
        if key not in self.tokens:
            made = subprocess.run(
                [REGISTRY, "token", "add", user, "--role", role, "--models", models, "--home", self.home, "--json"],
                capture_output=True,
                text=True,
                check=True,
            )
            self.tokens[key] = json.loads(made.stdout)["token"]
        return self.tokens[key]

    def environment(self, token: str | None = None, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "REGISTRY_"))}
        found = {
            **kept,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.cache),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (OPERATORS, ARCHITECTURES))),
            **more,
        }
        return found if token is None else {**found, "HF_TOKEN": token}

    def client(self, code: str, token: str | None = None, **more: str) -> Any:
        """Run Python with the libraries as they are, and return what it puts into ``out``, as JSON."""
        script = (
            "import json, sys\nimport vision_operators\nout = {}\n"
            f"{textwrap.dedent(code)}\nsys.stdout.write('\\n@@' + json.dumps(out))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            env=self.environment(token, **more),
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return json.loads(done.stdout.rpartition("@@")[2])

    def command(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the clients, such as ``hf``."""
        name = shutil.which(arguments[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or arguments[0]
        return subprocess.run(
            [name, *arguments[1:]],
            capture_output=True,
            text=True,
            env=self.environment(token),
            timeout=300,
            check=False,
        )

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, /, **headers: str) -> Answered:
        """Send one plain request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if path.startswith("http") else f"{self.url}{path}"
        request = urllib.request.Request(url, body, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answered(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            return Answered(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


@contextlib.contextmanager
def serving(home: Path, cache: Path, *options: str) -> Iterator[Served]:
    """Serve a home on a free port by the command that everybody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = cache.with_suffix(".log")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [REGISTRY, "serve", "--home", str(home), "--port", str(port), *options],
            stdout=errors,
            stderr=errors,
            text=True,
        )
        served = Served(f"http://127.0.0.1:{port}", home, cache, process)
        try:
            _wait(served, log)
            yield served
        finally:
            process.terminate()
            process.wait(30)
    said = log.read_text()
    assert "Traceback" not in said, said[-6000:]


def _wait(served: Served, log: Path) -> None:
    for _ in range(600):
        if served.process.poll() is not None:
            raise AssertionError(f"the server ended: {log.read_text()[-4000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{served.url}/healthz", timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError("the server did not answer")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clients' own folder."""
    return tmp_path_factory.mktemp("hf") / "home"
