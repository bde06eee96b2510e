"""From one to many processes that look up, list and push at once: on a home and at a server, against MLflow's."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks import children
from benchmarks.client import TURN
from benchmarks.field import Field, described, milliseconds_each
from benchmarks.row import Row, at_least
from benchmarks.serving import ASKING, serving, told
from benchmarks.timing import rounds
from benchmarks.workshop import Workshop
from registry import Registry

GOAL = at_least(1)
_CALLS = 400
"""Of all clients together in a round, and of each at least one turn."""

WRITER = "processor time, on the cores that all processes share; then one writer at a time"


def rows(workshop: Workshop) -> Iterator[Row]:
    """Let more and more of the same processes work on one place."""
    folder = workshop.fresh_folder("clients")
    homes = {"registry": str(folder / "home"), "mlflow": f"sqlite:///{folder}/mlflow.db"}
    yield from _at(workshop, homes, "on one home", "MLflow's store on SQLite", WRITER)
    if find_spec("uvicorn") is None or find_spec("fastapi") is None:
        yield Row("clients", "clients at one server", _SERVER, GOAL, skipped="the server extra is not installed")
        return
    served = folder / "served"
    registry = Registry(served)
    token = registry.add_token("bench", role="admin").text
    registry.close()
    with contextlib.ExitStack() as stack:
        stack.enter_context(told(XDG_CACHE_HOME=str(folder / "cache"), REGISTRY_TOKEN=token))
        urls = {"registry": stack.enter_context(serving(served)).url}
        if find_spec("mlflow") is not None:
            urls["mlflow"] = stack.enter_context(_mlflow_server(folder))
        yield from _at(workshop, urls, "at one server", _SERVER, ASKING)


_SERVER = "MLflow's server on SQLite"


def _at(workshop: Workshop, places: dict[str, str], where: str, against: str, limit: str) -> Iterator[Row]:
    has_mlflow = find_spec("mlflow") is not None
    targets = {"registry": "use_registry"} | ({"mlflow": "use_mlflow"} if has_mlflow else {})
    counts = workshop.scale.clients
    fields: dict[str, Field] = {}
    try:
        for name, target in targets.items():
            fields[name] = Field(f"benchmarks.client:{target}", counts[-1], place=places[name])
        for count in counts:
            calls = TURN * max(1, _CALLS // count // TURN)
            taken: dict[str, list[float]] = {name: [] for name in fields}

            def race(name: str, count: int = count, calls: int = calls, taken: dict[str, list[float]] = taken) -> float:
                finishes = fields[name].race(calls, count)
                taken[name] += [seconds for finish in finishes for seconds in finish.taken]
                return milliseconds_each(finishes)

            each = rounds({name: lambda name=name: race(name) for name in fields}, workshop.pairs)
            what = f"{count} clients {where}, for each call"
            told_ = {name: described(sorted(each[name])[workshop.pairs // 2], taken[name]) for name in fields}
            if has_mlflow:
                remark = f"{told_['registry']}; MLflow {told_['mlflow']}"
                yield Row("clients", what, against, GOAL, "ms", each["registry"], each["mlflow"], remark, limit)
            else:
                yield Row("clients", what, against, GOAL, skipped=f"MLflow is not installed; {told_['registry']}")
    finally:
        for field in fields.values():
            field.end()


@contextlib.contextmanager
def _mlflow_server(folder: Path) -> Iterator[str]:
    """Run MLflow's server as its documentation starts it, and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = f"sqlite:///{folder}/mlflow-served.db"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
    with (folder / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=children.environment(), stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, folder / "mlflow.log")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(URLError, OSError), urlopen(f"{url}/health") as answer:
            if answer.status == 200:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError("; ".join(re.findall(r"\w*Error.*", log.read_text())[-1:]) or "MLflow's server did not start")
