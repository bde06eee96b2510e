import sqlite3
from contextlib import closing
from dataclasses import replace
from inspect import isfunction
from typing import get_origin, get_type_hints

import pytest
from sqlalchemy import ClauseElement
from sqlalchemy.dialects import postgresql, sqlite

from registry.catalog import (
    copy_statements,
    event_statements,
    file_statements,
    key_statements,
    lease_statements,
    lineage_statements,
    metric_statements,
    name_statements,
    overview_statements,
    remembered_statements,
    rows,
    source_statements,
    statements,
    stretch_statements,
    token_statements,
)
from registry.catalog.catalog import Catalog
from registry.catalog.grammar import parse
from registry.catalog.rows import Reading
from registry.catalog.selection import Shape, beginnings, few, kinds_of, selection

MODULES = (
    *(copy_statements, statements, event_statements, file_statements, key_statements),
    *(lease_statements, lineage_statements, metric_statements, name_statements, token_statements),
    *(overview_statements, remembered_statements, source_statements, stretch_statements),
)
HELPERS = ("whole", "beside_parents")
OPTIONAL: dict[str, list[tuple]] = {
    **{key: [(name, trashed) for name in (None, "net") for trashed in (False, True)] for key in ("count", "keys")},
    "events": [(None, None), (("net",), 5), (("net", "old"), 5, "push", "me", "2026-11-01", "2026-12-01"),
               (None, 5, None, None, None, None, 7), (("net",), 5, None, None, None, None, None, ("net:v1",)),
               (None, 5, "copy", None, None, None, 7, None, 3)],
    "events_after": [(None,), (("net",),), (("net", "old"),)],
    "newest": [(Shape(kinds_of(parse("net acc>=0.5"))),)],
    "last_removal": [(("net:v1",),), (("net:v1", "old:v1"),)],
    "moves": [(("net",), "best")],
    "pushes_with_key": [("net", "me@host", "k" * 32, 500)],
    **{key: [(None,), ("net",)] for key in ("facts_after", "models_themselves", "aliases", "former_names")},
}  # fmt: skip
QUERIES = (
    *("", "net", "net*", "acc>=0.5", "net acc>=0.5 loss<1 tag:task=seg", "sort:-acc", "sort:acc acc>0", "net sort:acc"),
    *("tag:task=seg sort:-acc", "class:Net sort:acc", "sort:-size", "sort:epoch net", "tag:task", "tag:task=s*"),
    *("alias:best", "alias:b*", "kept:training", "class:Net", "wrapper:ddp", "by:ann", "digest:ab", "base:ab"),
    *("after:2026-11-01 before:2026-12-01", "parent:net", "parent:net:v1", "run:a", "run:a*", "commit:ab"),
    *("builder:timm", "dtype:float16", "source:best.pth", "note:frozen"),
)


def searches():
    """Yield the statements that the searches of these shapes may send."""
    for text in QUERIES:
        query = parse(text)
        by = query.order
        order = None if by is None else ("metric" if by.is_metric else by.by, by.descending)
        for trashed in (False, True):
            shape = Shape(kinds_of(query), trashed, order)
            where = f"{text!r} in the trash" if trashed else repr(text)
            for first in beginnings(shape):
                yield f"few({where}, {first})", few(shape, first, 100)
            for part in ("sorted", "rest") if order else ("all",):
                for start in (None, *beginnings(shape)):
                    for follows in (False, True):
                        asked = replace(shape, part=part, begins=start, follows=follows)
                        yield f"selection({where}, {part}, {start}, {follows})", selection(asked)


def every():
    """Yield every statement of the catalog, with a name for it."""
    for module in MODULES:
        for name, what in vars(module).items():
            if isinstance(what, ClauseElement) and not name.startswith("_"):
                yield name, what
            elif isfunction(what) and what.__module__ == module.__name__ and name[0] != "_" and name not in HELPERS:
                yield from ((f"{name}{arguments}", what(*arguments)) for arguments in OPTIONAL[name])


STATEMENTS = {**dict(every()), **dict(searches())}


@pytest.mark.filterwarnings("ignore:Column 'leases.id'")  # a row of it is named by who adds it
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


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with closing(sqlite3.connect(Catalog(tmp_path_factory.mktemp("home")).path)) as connection:
        yield connection


@pytest.mark.parametrize(
    "name",
    [
        *("BY_NUMBER", "BY_ALIAS", "NEWEST", "BY_DIGEST", "LOCATE", "SAME_WEIGHTS"),
        *("BY_IDENTITY", "OF_RUN", "PUSHED", "FREED"),
        *("RUN_BEFORE", "SOURCES_AFTER", "DESCENTS_AFTER", "MODELS_AFTER", "ALIASES_BETWEEN"),
        *(name for name in STATEMENTS if name.startswith(("few", "selection"))),
        *("events_after(('net',),)", "facts_after('net',)"),
        *("BY_ID", "VERSION", "NUMBERED", "DOCUMENT", "RENAMED", "FORMER_NAMES", "former_names('net',)"),
        *("STATISTICS", "SERIES", "FROM_OLDER", "CHILDREN"),
        *("moves(('net',), 'best')", "events(('net',), 5)", "NEEDED_BY_TRASH_ALONE", "LIVE_ADAPTERS"),
        *("WHOLE_ROW", "WITH_RECORD", "EVENTS_OF", "MODEL_OF_UID", "LIVE_WITH_WEIGHTS"),
    ],
)
def test_lookups_and_searches_use_an_index(database, name):
    compiled = STATEMENTS[name].compile(dialect=sqlite.dialect(paramstyle="named"))
    values = {key: 1 if value is None else value for key, value in compiled.params.items()}
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {compiled}", values)]
    scanned = [step for step in plan if step.startswith("SCAN") and "chosen" not in step and "json_each" not in step]
    # Aliases are few, and none of them is looked for by its name alone but in a search.
    assert [step for step in scanned if "ix_aliases_version_id" not in step] == [], plan


def test_sorting_by_a_column_reads_no_whole_row_to_find_the_page(database):
    query = parse("sort:-size")
    statement = selection(Shape(kinds_of(query), order=("size", True), part="sorted"))
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="named"))
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {compiled}", {**compiled.params, "limit": 5})]
    assert "SEARCH versions USING COVERING INDEX ix_versions_listing (trashed_at=?)" in plan


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
        is_part = row in (rows.Version, rows.MeasuredVersion, rows.WholeVersion)
        assert set(declared) <= set(columns) if is_part else declared == columns, row
