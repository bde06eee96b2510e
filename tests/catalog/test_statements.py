import re
import sqlite3
from contextlib import closing
from pathlib import Path

from registry.catalog import sql, statements
from registry.catalog.catalog import Catalog


def test_the_sql_that_runs_is_what_the_statements_compile_to():
    assert Path(sql.__file__).read_text(encoding="utf-8") == statements.generate()


def test_lookups_by_reference_and_metric_use_an_index(tmp_path):
    catalog = Catalog(tmp_path / "home")
    texts = [sql.BY_NUMBER, sql.BY_ALIAS, sql.NEWEST, sql.BY_DIGEST, sql.LOCATE, sql.SAME_WEIGHTS]
    with closing(sqlite3.connect(catalog.path)) as connection:
        for text in [*texts, sql.LISTINGS[True, False, False], sql.LISTINGS[True, False, True]]:
            values = dict.fromkeys(re.findall(r":(\w+)", text), 1)
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
            scanned = [step for step in plan if step.startswith("SCAN") and "chosen" not in step]
            assert [step for step in scanned if "json_each" not in step] == [], plan
