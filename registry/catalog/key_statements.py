"""The statement that finds rows which refer to rows that are not there, from the keys that ``schema`` declares.

A server checks them itself, unless its owner has told it not to.
"""

from __future__ import annotations

from typing import cast

from sqlalchemy import exists, literal, select, union_all

from registry.catalog.rows import Dangling, Reading
from registry.catalog.schema import METADATA

_KEYS = [(table, key) for table in METADATA.sorted_tables for key in table.foreign_keys]

DANGLING = cast(
    "Reading[Dangling]",
    union_all(
        *(
            select(literal(table.name).label("table"))
            .select_from(table)
            .where(
                key.parent.is_not(None),
                ~exists().where(key.column.table.alias("other").c[key.column.name] == key.parent),
            )
            for table, key in _KEYS
        )
    ),
)
