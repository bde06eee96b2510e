"""Looking things up among very many versions, as whole processes and inside one."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import torch
from sqlalchemy.dialects import sqlite

from benchmarks.children import COMMAND, run_python
from benchmarks.row import Floor, Row, at_most
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Workshop
from registry import Registry
from registry.catalog.grammar import parse
from registry.catalog.statements import BY_ALIAS

_MODELS = 100
_CALLS = 100
_LIMIT = 50

_NOTHING = "import sqlalchemy, typer; typer.run(lambda name='': None)"
"""To read its first option, typer imports pydantic."""

IMPORTS = "starting Python, and its imports"
ENTRIES = "the statement itself, and making entries of its rows"

_BY_METRIC = """
    SELECT m.name, v.*, (SELECT group_concat(name) FROM aliases WHERE version_id = v.id), x.key, x.value
    FROM (SELECT v.id FROM versions v JOIN metrics x ON x.version_id = v.id
          WHERE v.trashed_at IS NULL AND x.key = ? AND x.value >= ? ORDER BY v.id DESC LIMIT ?) c
    JOIN versions v ON v.id = c.id JOIN models m ON m.id = v.model_id
    LEFT JOIN metrics x ON x.version_id = v.id ORDER BY v.id DESC, x.key
"""


def rows(workshop: Workshop) -> Iterator[Row]:
    """Fill a catalog and ask it."""
    registry = Registry(workshop.fresh_folder("listing"))
    registry.push({"weight": torch.zeros(4)}, "model-0", from_="single", aliases=["best"], metrics={"accuracy": 0.5})
    registry.catalog.close()
    fill(registry.home / "registry.db", workshop.scale.versions)
    yield from _inside(registry, workshop)
    yield from _whole_processes(registry, workshop)
    shutil.rmtree(registry.home)


def fill(database: Path, versions: int) -> None:
    """Copy the only version of a catalog until it has as many as asked for, over 100 models, each with an alias.

    By SQL, since that many pushes take minutes. The copies keep the digests and the seal of the original: enough for
    looking up, and no more.
    """
    with sqlite3.connect(database) as connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(versions)")]
        values = ", ".join({"id": "n.value", "model_id": f"1 + (n.value - 1) % {_MODELS}", "number":
            f"1 + (n.value - 1) / {_MODELS}"}.get(name, f"v.{name}") for name in columns)  # fmt: skip
        connection.execute(
            "INSERT INTO models (id, name, next_number, uid) SELECT value + 1, 'model-' || value, 1000000, value FROM"
            f" (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT {_MODELS - 1})"
            " SELECT value FROM n)"
        )
        connection.execute(
            f"INSERT INTO versions WITH RECURSIVE n(value) AS (SELECT 2 UNION ALL SELECT value + 1 FROM n"
            f" LIMIT {versions - 1}) SELECT {values} FROM n, versions v WHERE v.id = 1"
        )
        connection.execute(
            "INSERT INTO metrics (version_id, key, value)"
            " SELECT id, 'accuracy', (id * 7919 % 10000) / 10000.0 FROM versions WHERE id > 1"
        )
        connection.execute(
            "INSERT INTO aliases (model_id, name, version_id) SELECT model_id, 'best', max(id) FROM versions"
            " WHERE model_id > 1 GROUP BY model_id"
        )
    connection.close()


def _inside(registry: Registry, workshop: Workshop) -> Iterator[Row]:
    stored = f"{workshop.scale.versions:,} versions"
    bare = sqlite3.connect(registry.home / "registry.db", isolation_level=None)
    names = [f"model-{number % _MODELS}" for number in range(_CALLS)]
    query = parse("accuracy>=0.9")
    statement = BY_ALIAS.compile(dialect=sqlite.dialect())
    text = str(statement)
    parameters = [
        [{**statement.params, "name": name, "alias": "best"}[key] for key in statement.positiontup or ()]
        for name in names
    ]

    def resolve() -> None:
        for name in names:
            registry.get(f"{name}:best")

    def resolve_bare() -> None:
        for each in parameters:
            bare.execute(text, each).fetchall()

    def filter_() -> None:
        for _ in names:
            registry.catalog.search(query, limit=_LIMIT)

    def filter_bare() -> None:
        for _ in names:
            bare.execute(_BY_METRIC, ("accuracy", 0.9, _LIMIT)).fetchall()

    resolve()
    filter_()
    figures = rounds(
        {
            "alias": timed(resolve),
            "alias, bare": timed(resolve_bare),
            "metric": timed(filter_),
            "metric, bare": timed(filter_bare),
        },
        workshop.pairs,
    )
    bare.close()
    each = {name: tuple(1000 * seconds / _CALLS for seconds in values) for name, values in figures.items()}
    yield Row(
        "listing", f"resolve an alias, {stored}", "the same statement by sqlite3", at_most(10), "ms",
        each["alias"], each["alias, bare"], limit=ENTRIES,
    )  # fmt: skip
    yield Row(
        "listing", f"{_LIMIT} newest with a metric over a bound, {stored}", "SQL by hand in sqlite3", at_most(10),
        "ms", each["metric"], each["metric, bare"], limit=ENTRIES,
    )  # fmt: skip


def _whole_processes(registry: Registry, workshop: Workshop) -> Iterator[Row]:
    home = {"REGISTRY_HOME": str(registry.home)}
    commands = (("list",), ("list", "model-7"), ("show", "model-0:best"))
    sides = {
        " ".join(command): timed(lambda command=command: run_python(COMMAND, *command, **home)) for command in commands
    }
    imports = "import sqlalchemy, typer"
    sides |= {code: timed(lambda code=code: run_python(code)) for code in (imports, _NOTHING)}
    figures = rounds(sides, workshop.pairs)
    floor = Floor("the imports and a command of typer that does nothing", figures[_NOTHING])
    for command in map(" ".join, commands):
        yield Row(
            "listing", f"registry {command}, {workshop.scale.versions:,} versions", f"python -c '{imports}'",
            at_most(1.5), "s", figures[command], figures[imports], limit=IMPORTS, floor=floor,
        )  # fmt: skip
