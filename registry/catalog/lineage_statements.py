"""The statements of what comes from what, on the tables of ``schema`` like all others."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, String, bindparam, column, exists, union_all

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select
from registry.catalog.statements import IS_LIVE, Elements, whole

_MODELS, _VERSIONS, _EVENTS = schema.MODELS, schema.VERSIONS, schema.EVENTS
_FORMER_NAMES = schema.FORMER_NAMES
_BLOBS, _NEEDS = schema.BLOBS, schema.VERSION_BLOBS

DESCENTS: Reading[rows.Descent] = (
    select(
        _MODELS.c.uid,
        _MODELS.c.name,
        _VERSIONS.c.number,
        _VERSIONS.c.parent,
        _VERSIONS.c.parent_uid,
        _VERSIONS.c.parent_number,
        _VERSIONS.c.parent_record,
        _VERSIONS.c.base,
    )
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(IS_LIVE, _VERSIONS.c.parent.is_not(None) | _VERSIONS.c.base.is_not(None))
    .order_by(_VERSIONS.c.id)
)
"""Of every version outside the trash that was made from another one."""
MODELS_WITH_BLOB: Reading[rows.Name] = (
    select(_MODELS.c.name)
    .distinct()
    .join(_VERSIONS, _VERSIONS.c.model_id == _MODELS.c.id)
    .join(_NEEDS, _NEEDS.c.version_id == _VERSIONS.c.id)
    .join(_BLOBS, _BLOBS.c.id == _NEEDS.c.blob_id)
    .where(_BLOBS.c.digest == bindparam("blob"))
)
BY_IDENTITY = whole(
    select(_VERSIONS.c.id)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(
        _MODELS.c.uid == bindparam("uid"),
        _VERSIONS.c.number == bindparam("number"),
        _VERSIONS.c.record == bindparam("record"),
    )
)
"""A version, in the trash too."""
CHILDREN = whole(
    select(_VERSIONS.c.id)
    .where(
        _VERSIONS.c.parent_record == bindparam("record"),
        _VERSIONS.c.parent_uid == bindparam("uid"),
        _VERSIONS.c.parent_number == bindparam("number"),
        IS_LIVE,
    )
    .order_by(_VERSIONS.c.id.desc())
    .limit(bindparam("limit"))
)
"""The newest versions outside the trash that were trained from one."""
OF_RUN_IDS: Select[Any] = (
    select(_VERSIONS.c.id)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_MODELS.c.uid == bindparam("uid"), _VERSIONS.c.run == bindparam("run"), IS_LIVE)
)
OF_RUN = whole(OF_RUN_IDS)
"""The versions outside the trash that a run pushed."""
_IS_MODEL = _MODELS.c.uid == bindparam("uid")
_NAMES = union_all(
    select(_MODELS.c.name).where(_IS_MODEL),
    select(_FORMER_NAMES.c.name).join(_MODELS, _MODELS.c.id == _FORMER_NAMES.c.model_id).where(_IS_MODEL),
)
PUSHED: Reading[rows.Details] = (
    select(_EVENTS.c.details)
    .where(
        _EVENTS.c.name.in_(_NAMES),
        _EVENTS.c.reference == _EVENTS.c.name.concat(bindparam("version", type_=String)),
        _EVENTS.c.verb == "push",
    )
    .order_by(_EVENTS.c.id)
)
"""The pushes of a version (``":v3"``) of a model, whatever that was called then."""
_SEALS: Select[Any] = select(column("value", String)).select_from(Elements(bindparam("seals", type_=String)))
_ARE_THESE = _VERSIONS.c.seal.in_(_SEALS)
FREED: Reading[rows.Bytes] = (
    select(_BLOBS.c.digest, _BLOBS.c.nbytes)
    .where(
        _BLOBS.c.id.in_(
            select(_NEEDS.c.blob_id)
            .join(_VERSIONS, _VERSIONS.c.id == _NEEDS.c.version_id)
            .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
            .where(_MODELS.c.uid == bindparam("uid"), _ARE_THESE)
        ),
        ~exists()
        .select_from(_NEEDS.join(_VERSIONS, _VERSIONS.c.id == _NEEDS.c.version_id))
        .where(_NEEDS.c.blob_id == _BLOBS.c.id, IS_LIVE, ~_ARE_THESE),
    )
    .order_by(_BLOBS.c.id)
)
"""The blobs that no version outside the trash needs but those with these seals, which are of one model."""
