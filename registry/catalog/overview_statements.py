"""What is counted and drawn of many versions at once, as statements."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import bindparam, func

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select
from registry.catalog.selection import Shape, chosen

_MODELS, _VERSIONS, _METRICS, _TAGS = schema.MODELS, schema.VERSIONS, schema.METRICS, schema.TAGS
_LATER = _METRICS.alias("later")

FACETS = {"class": "model_class", "wrapper": "wrapper", "by": "creator"}
"""Facts whose values are counted: the field of a query, and the column."""


@lru_cache(maxsize=256)
def counted(field: str, shape: Shape) -> Reading[rows.Counted]:
    """Return the statement that counts the versions of a query by a fact, the most frequent value first."""
    column = _VERSIONS.c[FACETS[field]]
    total = func.count().label("total")
    found = select(column.label("value"), total).where(_VERSIONS.c.id.in_(chosen(shape)))
    return found.group_by(column).order_by(total.desc(), column).limit(bindparam("limit"))


@lru_cache(maxsize=256)
def counted_tags(shape: Shape) -> Reading[rows.CountedTag]:
    """Return the statement that counts the versions of a query by their tags."""
    total = func.count().label("total")
    found = select(_TAGS.c.key, _TAGS.c.value, total).where(_TAGS.c.version_id.in_(chosen(shape)))
    return (
        found.group_by(_TAGS.c.key, _TAGS.c.value)
        .order_by(total.desc(), _TAGS.c.key, _TAGS.c.value)
        .limit(bindparam("limit"))
    )


@lru_cache(maxsize=256)
def ranges(shape: Shape) -> Reading[rows.Range]:
    """Return the statement for how many of a query's versions have a metric, and from where to where it goes."""
    total = func.count().label("total")
    found = select(
        _METRICS.c.key, total, func.min(_METRICS.c.value).label("low"), func.max(_METRICS.c.value).label("high")
    ).where(_METRICS.c.version_id.in_(chosen(shape)))
    return found.group_by(_METRICS.c.key).order_by(total.desc(), _METRICS.c.key).limit(bindparam("limit"))


SERIES: Reading[rows.Point] = (
    select(_VERSIONS.c.number, _METRICS.c.value)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .join(_METRICS, _METRICS.c.version_id == _VERSIONS.c.id)
    .where(
        _MODELS.c.name == bindparam("name"),
        _METRICS.c.key == bindparam("key"),
        _VERSIONS.c.trashed_at.is_(None),
    )
    .order_by(_VERSIONS.c.number.desc())
    .limit(bindparam("limit"))
)
"""A metric along the newest versions of a model."""

NEXT_KEY: Reading[rows.Key] = select(func.min(_METRICS.c.key).label("key")).where(_METRICS.c.key > bindparam("after"))
"""The metrics' names one by one, each found in the index; to read all rows for them would take longer than a page."""

_SUMS = (
    select(_VERSIONS.c.model_id, func.count().label("versions"), func.sum(_VERSIONS.c.byte_count).label("nbytes"))
    .where(_VERSIONS.c.trashed_at.is_(None))
    .group_by(_VERSIONS.c.model_id)
    .subquery("sums")
)
SIZES: Reading[rows.Size] = (
    select(_MODELS.c.name, _SUMS.c.versions, _SUMS.c.nbytes)
    .join(_SUMS, _SUMS.c.model_id == _MODELS.c.id)
    .order_by(_SUMS.c.nbytes.desc(), _MODELS.c.name)
)
STORED: Reading[rows.Total] = select(func.sum(schema.BLOBS.c.nbytes).label("total"))
