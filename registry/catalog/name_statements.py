"""The statements of what models are called, on the tables of ``schema`` like all others."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select

_MODELS, _FORMER_NAMES = schema.MODELS, schema.FORMER_NAMES
_IS_FORMER = _FORMER_NAMES.c.name == bindparam("former")

RENAMED: Reading[rows.Named] = (
    select(_MODELS.c.id, _MODELS.c.name).join(_FORMER_NAMES, _FORMER_NAMES.c.model_id == _MODELS.c.id).where(_IS_FORMER)
)
"""The model that had a name before."""
FORMER_NAMES: Reading[rows.Name] = (
    select(_FORMER_NAMES.c.name)
    .join(_MODELS, _MODELS.c.id == _FORMER_NAMES.c.model_id)
    .where(_MODELS.c.name == bindparam("name"))
    .order_by(_FORMER_NAMES.c.name)
)
ADD_FORMER_NAME = insert(_FORMER_NAMES)
DROP_FORMER_NAME = delete(_FORMER_NAMES).where(_IS_FORMER)


def former_names(name: str | None) -> Reading[rows.Former]:
    """Return the statement for what models were called before."""
    all_of_them: Reading[rows.Former] = select(_MODELS.c.name, _FORMER_NAMES.c.name.label("former")).join(
        _FORMER_NAMES, _FORMER_NAMES.c.model_id == _MODELS.c.id
    )
    return all_of_them if name is None else all_of_them.where(_MODELS.c.name == name)
