"""The statements of leases, on the tables of ``schema`` like all others. The clock is the database's, one for all."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Integer, bindparam, delete, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from registry.catalog import schema
from registry.catalog.rows import Reading, select
from registry.catalog.statements import AddOrReplace

_LEASES = schema.LEASES


class LeaseRow(NamedTuple):
    """What a running push is about to use."""

    id: str
    holder: str
    expires_at: int
    blobs: str
    doomed: str


class _Now(FunctionElement[int]):
    """Seconds since 1970 by the clock of the database, also within a transaction that began earlier."""

    inherit_cache = True
    type = Integer()


@compiles(_Now)
def _now(function: _Now, compiler: Any, **options: Any) -> str:
    return "CAST(strftime('%s', 'now') AS INTEGER)"


@compiles(_Now, "postgresql")
def _now_of_clock(function: _Now, compiler: Any, **options: Any) -> str:
    return "CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT)"


_UNTIL = _Now() + bindparam("seconds", type_=Integer())
_IS_HELD = _LEASES.c.expires_at > _Now()
_IS_THIS = _LEASES.c.id == bindparam("lease")

HELD: Reading[LeaseRow] = select(_LEASES).where(_IS_HELD)
CLAIM = AddOrReplace(_LEASES).values(expires_at=_UNTIL).inline()
RENEW = update(_LEASES).where(_IS_THIS, _IS_HELD).values(expires_at=_UNTIL)
RELEASE = delete(_LEASES).where(_IS_THIS)
FORGET = delete(_LEASES).where(~_IS_HELD)
