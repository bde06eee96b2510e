"""What is counted and drawn of many versions at once, as statements."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import sqlalchemy
from sqlalchemy import Integer, Select, String, bindparam, column, exists, func

from registry.catalog import page_rows, rows, schema
from registry.catalog.rows import Reading, select
from registry.catalog.selection import Shape, chosen
from registry.catalog.statements import IS_LIVE, PARENT_NAME, Elements, beside_parents

_MODELS, _VERSIONS, _METRICS, _TAGS = schema.MODELS, schema.VERSIONS, schema.METRICS, schema.TAGS


@lru_cache(maxsize=256)
def newest(shape: Shape) -> Reading[page_rows.Found]:
    """Return the statement for the newest versions of a query with their models and parents, at most ``most``.

    Only those after the id ``since`` are looked at.
    """
    found: Any = chosen(shape).where(_VERSIONS.c.id > bindparam("since"))
    ids = found.order_by(_VERSIONS.c.id.desc()).limit(bindparam("most")).subquery("newest")
    told: Any = select(ids.c.id, _MODELS.c.name, _VERSIONS.c.parent, PARENT_NAME, _VERSIONS.c.parent_number)
    told = told.select_from(ids).join(_VERSIONS, _VERSIONS.c.id == ids.c.id)
    return cast("Reading[page_rows.Found]", beside_parents(told.join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)))


LAST: Reading[rows.Total] = select(func.max(_VERSIONS.c.id).label("total"))
"""The id of the newest version."""

_THESE: Select[Any] = select(sqlalchemy.cast(column("value"), Integer)).select_from(
    Elements(bindparam("ids", type_=String))
)
_TOTAL = func.count().label("total")
_LIMIT: Any = bindparam("limit")

COUNTED: dict[str, Reading[page_rows.Counted]] = {
    field: select(_VERSIONS.c[name].label("value"), _TOTAL)
    .where(_VERSIONS.c.id.in_(_THESE))
    .group_by(_VERSIONS.c[name])
    .order_by(_TOTAL.desc(), _VERSIONS.c[name])
    .limit(_LIMIT)
    for field, name in (("class", "model_class"), ("wrapper", "wrapper"), ("by", "creator"))
}
"""How many of some versions have each value of a fact, by the field of a query, the most frequent first."""

COUNTED_TAGS: Reading[page_rows.CountedTag] = (
    select(_TAGS.c.key, _TAGS.c.value, _TOTAL)
    .where(_TAGS.c.version_id.in_(_THESE))
    .group_by(_TAGS.c.key, _TAGS.c.value)
    .order_by(_TOTAL.desc(), _TAGS.c.key, _TAGS.c.value)
    .limit(_LIMIT)
)
RANGES: Reading[page_rows.Range] = (
    select(_METRICS.c.key, _TOTAL, func.min(_METRICS.c.value).label("low"), func.max(_METRICS.c.value).label("high"))
    .where(_METRICS.c.version_id.in_(_THESE))
    .group_by(_METRICS.c.key)
    .order_by(_TOTAL.desc(), _METRICS.c.key)
    .limit(_LIMIT)
)
"""How many of some versions have a metric, and from where to where it goes."""

SERIES: Reading[page_rows.Point] = (
    select(_VERSIONS.c.number, _METRICS.c.value)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .join(_METRICS, _METRICS.c.version_id == _VERSIONS.c.id)
    .where(
        _MODELS.c.name == bindparam("name"),
        _METRICS.c.key == bindparam("key"),
        IS_LIVE,
    )
    .order_by(_VERSIONS.c.number.desc())
    .limit(bindparam("limit"))
)
"""A metric along the newest versions of a model."""

_SUMS = (
    select(_VERSIONS.c.model_id, func.count().label("versions"), func.sum(_VERSIONS.c.byte_count).label("nbytes"))
    .where(IS_LIVE)
    .group_by(_VERSIONS.c.model_id)
    .subquery("sums")
)
SIZES: Reading[page_rows.Size] = (
    select(_MODELS.c.name, _SUMS.c.versions, _SUMS.c.nbytes)
    .join(_SUMS, _SUMS.c.model_id == _MODELS.c.id)
    .order_by(_SUMS.c.nbytes.desc(), _MODELS.c.name)
)
_OLDER = schema.VERSION_BLOBS.alias("older")
FROM_OLDER: Reading[rows.Digest] = (
    select(schema.BLOBS.c.digest)
    .join(schema.VERSION_BLOBS, schema.VERSION_BLOBS.c.blob_id == schema.BLOBS.c.id)
    .join(_VERSIONS, _VERSIONS.c.id == schema.VERSION_BLOBS.c.version_id)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(
        _MODELS.c.uid == bindparam("uid"),
        _VERSIONS.c.number == bindparam("number"),
        exists().where(_OLDER.c.blob_id == schema.BLOBS.c.id, _OLDER.c.version_id < _VERSIONS.c.id),
    )
)
"""Which of a version's blobs an older version needs, too."""
STORED: Reading[rows.Total] = select(func.sum(schema.BLOBS.c.nbytes).label("total"))
