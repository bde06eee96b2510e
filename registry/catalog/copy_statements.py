"""The statements of a copy, on the tables of ``schema``."""

from __future__ import annotations

from sqlalchemy import bindparam, or_, update

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select
from registry.catalog.statements import BUILDABLE_FIRST, IS_LIVE

_MODELS, _VERSIONS, _DOCUMENTS, _EVENTS = schema.MODELS, schema.VERSIONS, schema.DOCUMENTS, schema.EVENTS
_FORMER = schema.FORMER_NAMES
_OF_MODELS = _VERSIONS.join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)

WHOLE_ROW: Reading[rows.WholeVersion] = (
    select(_MODELS.c.name, _MODELS.c.uid, _MODELS.c.card, *_VERSIONS.c)
    .select_from(_OF_MODELS)
    .where(_MODELS.c.name == bindparam("name"), _VERSIONS.c.number == bindparam("number"))
)
WITH_RECORD: Reading[rows.WholeVersion] = (
    select(_MODELS.c.name, _MODELS.c.uid, _MODELS.c.card, *_VERSIONS.c)
    .select_from(_OF_MODELS)
    .where(_VERSIONS.c.record == bindparam("record"), _VERSIONS.c.purged_at.is_(None))
    .order_by(_VERSIONS.c.trashed_at.is_not(None), _VERSIONS.c.id)
)
"""Few: versions that are in everything the same; those outside the trash first."""
NAMES_OF: Reading[rows.Name] = (
    select(_FORMER.c.name).join(_MODELS, _MODELS.c.id == _FORMER.c.model_id).where(_MODELS.c.name == bindparam("name"))
)
HISTORY_OF: Reading[rows.Document] = (
    select(_DOCUMENTS.c.kind, _DOCUMENTS.c.body)
    .join(_VERSIONS, _VERSIONS.c.id == _DOCUMENTS.c.version_id)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(
        or_(
            _MODELS.c.name == bindparam("name"),
            _MODELS.c.id.in_(select(_FORMER.c.model_id).where(_FORMER.c.name == bindparam("name"))),
        ),
        _VERSIONS.c.number == bindparam("number"),
        _DOCUMENTS.c.kind == "history",
    )
)
"""By any name that the model has or had."""
EVENTS_OF: Reading[rows.Event] = (
    select(_EVENTS).where(_EVENTS.c.name == bindparam("name"), _EVENTS.c.reference.is_not(None)).order_by(_EVENTS.c.id)
)

_MODEL: Reading[rows.ModelHere] = select(
    _MODELS.c.id, _MODELS.c.name, _MODELS.c.uid, _MODELS.c.next_number, _MODELS.c.card
)
MODEL_OF_UID: Reading[rows.ModelHere] = _MODEL.where(_MODELS.c.uid == bindparam("uid"))
MODEL_OF_NAME: Reading[rows.ModelHere] = _MODEL.where(_MODELS.c.name == bindparam("name"))
MODEL_ONCE_NAMED: Reading[rows.ModelHere] = _MODEL.join(_FORMER, _FORMER.c.model_id == _MODELS.c.id).where(
    _FORMER.c.name == bindparam("name")
)
REPLACE_DOCUMENT = update(_DOCUMENTS).where(
    _DOCUMENTS.c.version_id == bindparam("version"), _DOCUMENTS.c.kind == bindparam("of_kind")
)
LIVE_WITH_WEIGHTS: Reading[rows.Numbered] = (
    select(_MODELS.c.name, _VERSIONS.c.number)
    .select_from(_OF_MODELS)
    .where(_VERSIONS.c.weights == bindparam("weights"), IS_LIVE)
    .order_by(*BUILDABLE_FIRST)
)
