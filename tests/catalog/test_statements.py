import sqlite3
from contextlib import closing
from typing import get_origin, get_type_hints

import pytest
from sqlalchemy import ClauseElement
from sqlalchemy.dialects import postgresql, sqlite

from registry.catalog import copy_statements, event_statements, name_statements, rows, statements
from registry.catalog.catalog import Catalog
from registry.catalog.rows import Reading
from registry.catalog.version import Condition

MODULES = (copy_statements, statements, event_statements, name_statements)
ABOVE = Condition("acc", ">=", 0.5)
OPTIONAL: dict[str, list[tuple]] = {
    "listing": [(name, trashed, limit, metric) for name in (None, "net") for trashed in (False, True)
                for limit in (None, 5) for metric in (None, ABOVE)],
    "count": [(name, trashed) for name in (None, "net") for trashed in (False, True)],
    "events": [(None, None), (("net",), 5), (("net", "old"), 5, "push", "me", "2026-11-01", "2026-12-01")],
    "events_after": [(None,), (("net",),), (("net", "old"),)],
    "moves": [(("net",), "best")],
    "pushes": [(("net", "old"), 3)],
    **{key: [(None,), ("net",)] for key in ("facts_after", "models_themselves", "aliases", "former_names")},
}  # fmt: skip


def every():
    """Yield every statement of the catalog, with a name for it."""
    for module in MODULES:
        for name, what in vars(module).items():
            if isinstance(what, ClauseElement) and not name.startswith("_"):
                yield name, what
            elif callable(what) and what.__module__ == module.__name__ and not name.startswith("_"):
                yield from ((f"{name}{arguments}", what(*arguments)) for arguments in OPTIONAL[name])


STATEMENTS = dict(every())


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_compiles_for_both_databases_and_is_compiled_once(name):
    for dialect in (sqlite.dialect(paramstyle="named"), postgresql.dialect()):
        text = str(STATEMENTS[name].compile(dialect=dialect))
        assert "json_each" not in text or dialect.name == "sqlite"
        assert "OR REPLACE" not in text and "LIMIT -1" not in text
    assert STATEMENTS[name]._generate_cache_key() is not None


def test_a_change_waits_for_the_one_before_it_at_the_trails_end_where_the_database_is_not_locked_whole():
    assert "FOR UPDATE" in str(event_statements.LOCKED_TRAIL_END.compile(dialect=postgresql.dialect()))


def test_sizes_have_64_bits_in_both_databases():
    for column in (statements._BLOBS.c.nbytes, statements._TENSORS.c.offset, statements._VERSIONS.c.byte_count):
        assert column.type.compile(postgresql.dialect()) == "BIGINT"
        assert column.type.compile(sqlite.dialect()) == "INTEGER"


@pytest.mark.parametrize(
    "name",
    [
        *("BY_NUMBER", "BY_ALIAS", "NEWEST", "BY_DIGEST", "LOCATE", "SAME_WEIGHTS"),
        *(name for name in STATEMENTS if name.startswith("listing('net'")),
        *("events_after(('net',),)", "facts_after('net',)"),
        *("BY_ID", "VERSION", "NUMBERED", "DOCUMENT", "RENAMED", "FORMER_NAMES", "former_names('net',)"),
        *("moves(('net',), 'best')", "events(('net',), 5)", "NEEDED_BY_TRASH_ALONE", "LIVE_ADAPTERS"),
        *("WHOLE_ROW", "WITH_RECORD", "EVENTS_OF", "MODEL_OF_UID", "LIVE_WITH_WEIGHTS"),
    ],
)
def test_lookups_by_reference_and_metric_use_an_index(tmp_path, name):
    compiled = STATEMENTS[name].compile(dialect=sqlite.dialect(paramstyle="named"))
    values = {key: 1 if value is None else value for key, value in compiled.params.items()}
    with closing(sqlite3.connect(Catalog(tmp_path / "home").path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {compiled}", values)]
    scanned = [step for step in plan if step.startswith("SCAN") and "chosen" not in step]
    assert [step for step in scanned if "json_each" not in step] == [], plan


def test_every_reading_statement_gives_the_rows_that_it_is_annotated_with():
    pairs: list[tuple] = []
    for module in MODULES:
        hints = {name: hint for name, hint in get_type_hints(module).items() if name.lstrip("_").isupper()}
        pairs += [(vars(module)[name], hint) for name, hint in hints.items()]
        calls = [(vars(module)[key], each) for key in vars(module).keys() & OPTIONAL for each in OPTIONAL[key]]
        pairs += [(function(*each), get_type_hints(function)["return"]) for function, each in calls]
    rows_of = [(statement, hint.__args__[0]) for statement, hint in pairs if get_origin(hint) is Reading]
    assert len(rows_of) > 30
    for statement, row in rows_of:
        columns = tuple(statement.selected_columns.keys())
        declared = tuple(get_type_hints(row))
        assert set(declared) <= set(columns) if row in (rows.Version, rows.WholeVersion) else declared == columns, row
