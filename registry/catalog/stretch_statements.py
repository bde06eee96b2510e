"""What is asked stretch by stretch, each after a place and at most so much: by the keys, so that no row is counted."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import bindparam, exists, func

from registry.catalog import page_rows, rows, schema
from registry.catalog.lineage_statements import DESCENTS, OF_RUN_IDS
from registry.catalog.rows import Reading, select
from registry.catalog.source_statements import SOURCES
from registry.catalog.statements import IS_LIVE, whole

_MODELS, _VERSIONS, _ALIASES = schema.MODELS, schema.VERSIONS, schema.ALIASES
_LIMIT: Any = bindparam("limit")
_IS_LATER = _VERSIONS.c.id > bindparam("after")

SOURCES_AFTER = cast("Reading[page_rows.SourceAt]", SOURCES.add_columns(_VERSIONS.c.id).where(_IS_LATER).limit(_LIMIT))
DESCENTS_AFTER = cast(
    "Reading[page_rows.DescentAt]", DESCENTS.add_columns(_VERSIONS.c.id).where(_IS_LATER).limit(_LIMIT)
)
RUN_BEFORE = whole(OF_RUN_IDS.where(_VERSIONS.c.id < bindparam("before")).order_by(_VERSIONS.c.id.desc()).limit(_LIMIT))

_CHOSEN = (
    select(_MODELS.c.id, _MODELS.c.name, _MODELS.c.uid)
    .where(_MODELS.c.name > bindparam("after"), exists().where(_VERSIONS.c.model_id == _MODELS.c.id, IS_LIVE))
    .order_by(_MODELS.c.name)
    .limit(_LIMIT)
    .subquery("chosen")
)
MODELS_AFTER: Reading[rows.LiveModel] = (
    select(
        _CHOSEN.c.name,
        _CHOSEN.c.uid,
        func.count().label("live"),
        func.max(_VERSIONS.c.number).label("newest"),
        func.max(_VERSIONS.c.created_at).label("changed_at"),
    )
    .select_from(_CHOSEN)
    .join(_VERSIONS, _VERSIONS.c.model_id == _CHOSEN.c.id)
    .where(IS_LIVE)
    .group_by(_CHOSEN.c.name, _CHOSEN.c.uid)
    .order_by(_CHOSEN.c.name)
)
ALIASES_BETWEEN: Reading[rows.Alias] = (
    select(_MODELS.c.name, _ALIASES.c.name.label("alias"), _VERSIONS.c.number)
    .join(_ALIASES, _ALIASES.c.model_id == _MODELS.c.id)
    .join(_VERSIONS, _VERSIONS.c.id == _ALIASES.c.version_id)
    .where(_MODELS.c.name > bindparam("after"), _MODELS.c.name <= bindparam("last"))
    .order_by(_MODELS.c.name, _ALIASES.c.name)
)
"""Of the models of one stretch."""
