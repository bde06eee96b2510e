"""What was found out and need not be found out again, as statements."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, String, bindparam, column, insert

from registry.catalog import page_rows, schema
from registry.catalog.rows import Reading, select
from registry.catalog.statements import AddOrReplace, Elements

_STATISTICS, _AUDITS = schema.TENSOR_STATISTICS, schema.AUDITS


def _given(name: str) -> Select[Any]:
    return select(column("value", String)).select_from(Elements(bindparam(name, type_=String)))


STATISTICS: Reading[page_rows.Summary] = select(_STATISTICS.c.digest, _STATISTICS.c.body).where(
    _STATISTICS.c.digest.in_(_given("digests"))
)
REMEMBER_STATISTICS = AddOrReplace(_STATISTICS).inline()

LAST_AUDIT: Reading[page_rows.Audit] = (
    select(*(_AUDITS.c[name] for name in ("at", "actor", "asked", "versions", "faults")))
    .where(_AUDITS.c.asked.is_(None) | _AUDITS.c.asked.in_(_given("asked")))
    .order_by(_AUDITS.c.id.desc())
    .limit(1)
)
REMEMBER_AUDIT = insert(_AUDITS)
