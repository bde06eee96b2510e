"""What is asked stretch by stretch, each after a place and at most so much: by the keys, so that no row is counted."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import bindparam

from registry.catalog import page_rows, rows, schema
from registry.catalog.lineage_statements import DESCENTS, OF_RUN_IDS
from registry.catalog.rows import Reading, select
from registry.catalog.source_statements import SOURCES
from registry.catalog.statements import MODELS, whole

_MODELS, _VERSIONS, _ALIASES = schema.MODELS, schema.VERSIONS, schema.ALIASES
_LIMIT: Any = bindparam("limit")
_IS_LATER = _VERSIONS.c.id > bindparam("after")

SOURCES_AFTER = cast("Reading[page_rows.SourceAt]", SOURCES.add_columns(_VERSIONS.c.id).where(_IS_LATER).limit(_LIMIT))
DESCENTS_AFTER = cast(
    "Reading[page_rows.DescentAt]", DESCENTS.add_columns(_VERSIONS.c.id).where(_IS_LATER).limit(_LIMIT)
)
RUN_BEFORE = whole(OF_RUN_IDS.where(_VERSIONS.c.id < bindparam("before")).order_by(_VERSIONS.c.id.desc()).limit(_LIMIT))

MODELS_AFTER: Reading[rows.LiveModel] = MODELS.where(_MODELS.c.name > bindparam("after")).limit(_LIMIT)
ALIASES_BETWEEN: Reading[rows.Alias] = (
    select(_MODELS.c.name, _ALIASES.c.name.label("alias"), _VERSIONS.c.number)
    .join(_ALIASES, _ALIASES.c.model_id == _MODELS.c.id)
    .join(_VERSIONS, _VERSIONS.c.id == _ALIASES.c.version_id)
    .where(_MODELS.c.name > bindparam("after"), _MODELS.c.name <= bindparam("last"))
    .order_by(_MODELS.c.name, _ALIASES.c.name)
)
"""Of the models of one stretch."""
