"""The pages of a server, with very many versions: the processor's time for one, and how soon a browser paints it.

The former in one process, without a network; the latter from a server of its own, on the same processors.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import painting
from benchmarks.row import Row, at_most
from benchmarks.searching import fill
from benchmarks.workshop import Workshop
from registry.catalog import event_statements
from registry.catalog.database import Database

MODELS = 200
_BUDGET = 100.0
"""Milliseconds."""

PAGES = {
    "models": "/",
    "models, the latest first": "/?sort=-pushed",
    "versions": "/versions",
    "versions, the best by a metric": "/versions?q=acc%3E0.9+sort:-acc",
    "versions, of three terms": "/versions?q=acc%3E%3D0.9+tag:task%3Dseg+class:PointNet",
    "a model": "/models/model-7",
    "a model, another metric": "/models/model-7?metric=loss",
    "a version": "/models/model-7:v3",
    "a version's events": "/models/model-7:v3/events",
    "two versions": "/compare?ref=model-7:v3",
    "activity": "/activity",
    "activity of a model": "/activity?name=model-7",
    "activity, by a user": "/activity?by=ann",
    "storage": "/storage",
    "trash": "/trash",
}
"""By what they are called here."""


def rows(workshop: Workshop) -> Iterator[Row]:
    """Fill a catalog and look at it."""
    try:
        from registry.server.app import create_app
        from registry.server.settings import Settings
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed; pip install 'checkpoint-registry[server]'"
        yield Row("pages", "every page", "a budget", at_most(1), "ms", skipped=missing)
        return
    logging.getLogger("registry.server").setLevel(logging.CRITICAL)
    home = workshop.fresh_folder("pages")
    fill(home, workshop.scale.versions, MODELS)
    tell(home, workshop.scale.versions)
    app = create_app(Settings(home))
    stored = f"{workshop.scale.versions:,} versions of {MODELS} models"
    with asyncio.Runner() as runner:
        for what, path in PAGES.items():
            status, body = runner.run(ask(app, path))
            if status != 200:
                raise RuntimeError(f"{path} was answered with {status}: {body[:200]!r}")
            figures = tuple(_milliseconds(runner, app, path) for _ in range(workshop.pairs))
            yield Row(
                "pages", f"{what}, {stored}", "a budget", at_most(1), "ms", figures, (_BUDGET,) * len(figures),
                remark=f"{len(body) / 1024:.0f} KiB",
            )  # fmt: skip
    app.state.service.close()
    yield from painting.rows(home, PAGES, stored, workshop.pairs)
    shutil.rmtree(home)


def _milliseconds(runner: asyncio.Runner, app: Any, path: str) -> float:
    """Return what a page costs, in all threads, whatever else the machine does meanwhile."""
    begin = time.process_time()
    runner.run(ask(app, path))
    return 1000 * (time.process_time() - begin)


async def ask(app: Any, path: str) -> tuple[int, bytes]:
    """Send a request to an application as its server would, and return the status and the body of the answer."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"localhost"), (b"accept", b"text/html")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent[1:])


def tell(home: Path, versions: int) -> None:
    """Write an event for each version, not chained: enough for reading, and no more."""
    database = Database(home)
    with database.write() as connection:
        for first in range(0, versions, 10_000):
            connection.run_all(
                event_statements.ADD_EVENT, [_event(at) for at in range(first, min(first + 10_000, versions))]
            )
    database.close()


def _event(at: int) -> dict[str, Any]:
    name = f"model-{at % MODELS}"
    return {
        "id": 1 + at, "at": f"2026-01-01T00:00:{at % 60:02d}.000000+00:00", "actor": f"{('ann', 'bob')[at % 2]}@host",
        "verb": "push", "name": name, "reference": f"{name}:v{1 + at // MODELS}", "digest": "", "previous": "",
        "details": json.dumps({"client": "me@host"}), "hash": f"{at:064d}", "facts": None,
    }  # fmt: skip
