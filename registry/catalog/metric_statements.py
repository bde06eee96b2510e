"""Which metrics there are, on the tables of ``schema``."""

from __future__ import annotations

from sqlalchemy import bindparam

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select

_MODELS, _VERSIONS, _METRICS = schema.MODELS, schema.VERSIONS, schema.METRICS


def keys(name: str | None, trashed: bool) -> Reading[rows.Key]:
    """Return the statement for the metrics of all versions, or of one model's (the parameter ``name``), by name."""
    found: Reading[rows.Key] = (
        select(_METRICS.c.key)
        .distinct()
        .join(_VERSIONS, _VERSIONS.c.id == _METRICS.c.version_id)
        .where(_VERSIONS.c.trashed_at.is_not(None) if trashed else _VERSIONS.c.trashed_at.is_(None))
        .order_by(_METRICS.c.key)
    )
    if name is None:
        return found
    return found.join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id).where(_MODELS.c.name == bindparam("name"))
