"""What is asked of the sources of versions: the files and folders that they were pushed from."""

from __future__ import annotations

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select

_MODELS, _VERSIONS = schema.MODELS, schema.VERSIONS

SOURCES: Reading[rows.Source] = (
    select(
        _MODELS.c.name,
        _VERSIONS.c.number,
        _VERSIONS.c.source_digest,
        _VERSIONS.c.tensor_count,
        _VERSIONS.c.trashed_at,
    )
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_VERSIONS.c.source_digest.is_not(None), _VERSIONS.c.purged_at.is_(None))
    .order_by(_VERSIONS.c.id)
)
"""All at once, for a folder of files."""
