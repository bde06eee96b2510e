"""The statements of what files that are made of weights hash to, on the tables of ``schema`` like all others."""

from __future__ import annotations

from sqlalchemy import bindparam

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select
from registry.catalog.statements import IS_LIVE

_FILES, _MODELS, _VERSIONS, _DOCUMENTS = schema.FILE_DIGESTS, schema.MODELS, schema.VERSIONS, schema.DOCUMENTS

FILE_DIGEST: Reading[rows.FileDigest] = select(_FILES.c.sha256).where(
    _FILES.c.weights == bindparam("weights"), _FILES.c.ties == bindparam("ties"), _FILES.c.format == bindparam("format")
)
DOCUMENTS_OF_KIND: Reading[rows.NumberedDocument] = (
    select(_VERSIONS.c.number, _DOCUMENTS.c.body)
    .join(_VERSIONS, _VERSIONS.c.id == _DOCUMENTS.c.version_id)
    .join(_MODELS, _MODELS.c.id == _VERSIONS.c.model_id)
    .where(_MODELS.c.name == bindparam("name"), _DOCUMENTS.c.kind == bindparam("kind"), IS_LIVE)
    .order_by(_VERSIONS.c.number.desc())
)
"""One document of every live version of a model that has it."""
