"""Searching among very many versions: what the statements cost, and what the whole verb does."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from blake3 import blake3
from sqlalchemy import event

from benchmarks.row import Row, at_most
from benchmarks.timing import rounds, timed
from benchmarks.workshop import Workshop
from registry import Registry
from registry.catalog import statements
from registry.catalog.database import Database
from registry.catalog.facts import Facts

MODELS = 100
_CALLS = 20
_LIMIT = 50
_BUDGET = 0.05

_ENTRY = """
    SELECT m.name, m.uid, v.*, (SELECT group_concat(name) FROM aliases WHERE version_id = v.id),
        (SELECT group_concat(key || '=' || value, char(10)) FROM tags WHERE version_id = v.id),
        (SELECT group_concat(kind) FROM documents WHERE version_id = v.id AND kind NOT IN ('manifest', 'build')),
        p.id, n.name, x.key, x.value
    FROM ({chosen}) c JOIN versions v ON v.id = c.id JOIN models m ON m.id = v.model_id
    LEFT JOIN models n ON n.uid = v.parent_uid
    LEFT JOIN versions p ON p.model_id = n.id AND p.number = v.parent_number AND p.record = v.parent_record
    LEFT JOIN metrics x ON x.version_id = v.id
    ORDER BY {order}, v.id DESC, x.key
"""

SHAPES: dict[str, tuple[str, str, str]] = {
    "the newest": (
        "",
        "SELECT id FROM versions WHERE trashed_at IS NULL ORDER BY id DESC LIMIT 51",
        "v.id DESC",
    ),
    "the best by a metric": (
        "sort:-acc",
        "SELECT m.version_id AS id, m.value AS place FROM metrics m JOIN versions v ON v.id = m.version_id"
        " WHERE m.key = 'acc' AND v.trashed_at IS NULL ORDER BY m.value DESC, m.version_id DESC LIMIT 51",
        "c.place DESC",
    ),
    "three terms": (
        "acc>=0.9 tag:task=seg class:PointNet",
        "SELECT v.id FROM versions v JOIN metrics m ON m.version_id = v.id AND m.key = 'acc' AND m.value >= 0.9"
        " JOIN tags t ON t.version_id = v.id AND t.key = 'task' AND t.value = 'seg'"
        " WHERE v.trashed_at IS NULL AND v.model_class LIKE '%:PointNet' ORDER BY v.id DESC LIMIT 51",
        "v.id DESC",
    ),
    "three terms that few versions have": (
        "acc>=0.9 tag:release=yes loss<0.5",
        "SELECT v.id FROM versions v JOIN metrics m ON m.version_id = v.id AND m.key = 'acc' AND m.value >= 0.9"
        " JOIN tags t ON t.version_id = v.id AND t.key = 'release' AND t.value = 'yes'"
        " JOIN metrics l ON l.version_id = v.id AND l.key = 'loss' AND l.value < 0.5"
        " WHERE v.trashed_at IS NULL ORDER BY v.id DESC LIMIT 51",
        "v.id DESC",
    ),
    "a model's best": (
        "model-7 sort:-acc",
        "SELECT v.id, m.value AS place FROM versions v JOIN metrics m ON m.version_id = v.id AND m.key = 'acc'"
        " WHERE v.model_id = (SELECT id FROM models WHERE name = 'model-7') AND v.trashed_at IS NULL"
        " ORDER BY m.value DESC, v.id DESC LIMIT 51",
        "c.place DESC",
    ),
}
"""Each with its query, and with what one would write by hand for it: the versions chosen, and their order."""


def rows(workshop: Workshop) -> Iterator[Row]:
    """Fill a catalog and search it."""
    home = workshop.fresh_folder("search")
    fill(home, workshop.scale.versions)
    registry = Registry(home)
    for what, (query, chosen, order) in SHAPES.items():
        yield from _compared(registry, workshop, what, query, None, _ENTRY.format(chosen=chosen, order=order))
    depth = workshop.scale.versions // 2
    token = registry.list("sort:-acc", limit=depth).next
    last = registry.list("sort:-acc", limit=depth)[-1]
    chosen = (
        "SELECT m.version_id AS id, m.value AS place FROM metrics m JOIN versions v ON v.id = m.version_id"
        f" WHERE m.key = 'acc' AND v.trashed_at IS NULL AND (m.value, m.version_id) < ({last.metrics['acc']!r},"
        f" (SELECT v.id FROM versions v JOIN models m ON m.id = v.model_id WHERE m.name = '{last.name}'"
        f" AND v.number = {last.version})) ORDER BY m.value DESC, m.version_id DESC LIMIT 51"
    )
    what, by_hand = f"the page after {depth:,} best", _ENTRY.format(chosen=chosen, order="c.place DESC")
    yield from _compared(registry, workshop, what, "sort:-acc", token, by_hand)
    registry.close()
    shutil.rmtree(home)


def fill(home: Path, versions: int, models: int = MODELS) -> None:
    """Write versions of some models by the catalog's own statements: three metrics and two tags each.

    Their digests are made up and nothing is in the trail: enough for looking up, and no more.
    """
    database = Database(home)
    shared = Facts(model_class="nets:PointNet", creator="ann@host", tensor_count=12).columns()
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    with database.write() as connection:
        named = [{"id": 1 + number, "name": f"model-{number}", "uid": _digest("model", number)[:32],
                   "next_number": versions + 1} for number in range(models)]  # fmt: skip
        connection.run_all(statements.ADD_MODEL, named)
        for first in range(0, versions, 10_000):
            some = range(first, min(first + 10_000, versions))
            connection.run_all(statements.ADD_VERSION, [_version(at, begin, shared, models) for at in some])
            connection.run_all(statements.SET_METRIC, [each for at in some for each in _metrics(at)])
            connection.run_all(statements.SET_TAG, [each for at in some for each in _tags(at)])
        aliases = [{"model_id": 1 + at % models, "name": "best", "version_id": 1 + at} for at in range(models)]
        connection.run_all(statements.POINT_ALIAS, aliases)
    database.close()


def _version(at: int, begin: datetime, shared: dict[str, Any], models: int) -> dict[str, Any]:
    other = {"model_class": "nets:Other"} if at % 2 else {}
    return shared | other | {
        "id": 1 + at, "model_id": 1 + at % models, "number": 1 + at // models, "weights": _digest("weights", at),
        "record": _digest("record", at), "seal": _digest("seal", at), "byte_count": at * 7919 % 1_000_003,
        "parameter_count": at * 104_729 % 1_000_003, "epoch": at % 90, "sealed_as": f"model-{at % models}",
        "created_at": (begin + timedelta(seconds=at)).isoformat(timespec="microseconds"),
    }  # fmt: skip


def _metrics(at: int) -> Iterator[dict[str, Any]]:
    for key, factor in (("acc", 7919), ("loss", 104_729), ("val/iou", 1_299_709)):
        yield {"version_id": 1 + at, "key": key, "value": (at * factor % 10_007) / 10_007}


def _tags(at: int) -> Iterator[dict[str, Any]]:
    yield {"version_id": 1 + at, "key": "task", "value": ("seg", "cls", "det")[at % 3]}
    yield {"version_id": 1 + at, "key": "release", "value": "yes" if at % 5_000 == 0 else "no"}


def _digest(*seed: object) -> str:
    return blake3(repr(seed).encode()).hexdigest()


def _compared(
    registry: Registry, workshop: Workshop, what: str, query: str, after: str | None, by_hand: str
) -> Iterator[Row]:
    """Yield the rows of one shape: its statements alone, and the whole verb."""
    asked = _statements_of(registry, query, after)
    bare = sqlite3.connect(registry.home / "registry.db", isolation_level=None)

    def ours() -> None:
        for _ in range(_CALLS):
            for statement, parameters in asked:
                bare.execute(statement, parameters).fetchall()

    def theirs() -> None:
        for _ in range(_CALLS):
            bare.execute(by_hand).fetchall()

    def verb() -> None:
        for _ in range(_CALLS):
            registry.list(query, limit=_LIMIT, after=after)

    verb()
    figures = rounds({"ours": timed(ours), "theirs": timed(theirs), "verb": timed(verb)}, workshop.pairs)
    bare.close()
    each = {side: tuple(1000 * seconds / _CALLS for seconds in values) for side, values in figures.items()}
    stored = f"{workshop.scale.versions:,} versions"
    yield Row(
        "search", f"the statements for {what}, {stored}", "SQL by hand in sqlite3", at_most(2), "ms", each["ours"],
        each["theirs"],
    )  # fmt: skip
    budget = (1000 * _BUDGET,) * len(each["verb"])
    yield Row("search", f"{what}, {_LIMIT} of {stored}", "a budget", at_most(1), "ms", each["verb"], budget)


def _statements_of(registry: Registry, query: str, after: str | None) -> list[tuple[str, Any]]:
    """Return the statements that a search sends, with their values."""
    sent: list[tuple[str, Any]] = []
    engine = registry.catalog._database.backend.engine

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    registry.list(query, limit=_LIMIT, after=after)
    event.remove(engine, "before_cursor_execute", note)
    return sent
