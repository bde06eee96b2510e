"""Which metrics there are, on the tables of ``schema``."""

from __future__ import annotations

from sqlalchemy import bindparam

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select
from registry.catalog.statements import IN_TRASH, IS_LIVE

_MODELS, _VERSIONS, _METRICS = schema.MODELS, schema.VERSIONS, schema.METRICS


def keys(name: str | None, trashed: bool) -> Reading[rows.Key]:
    """Return the statement for the metrics of all versions, or of one model's (the parameter ``name``), by name."""
    found: Reading[rows.Key] = (
        select(_METRICS.c.key)
        .distinct()
        .join(_VERSIONS, _VERSIONS.c.id == _METRICS.c.version_id)
        .where(IN_TRASH if trashed else IS_LIVE)
        .order_by(_METRICS.c.key)
    )
    if name is None:
        return found
    return found.join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id).where(_MODELS.c.name == bindparam("name"))
