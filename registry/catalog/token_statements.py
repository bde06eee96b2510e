"""The statements of tokens, on the tables of ``schema`` like all others."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, update

from registry.catalog import rows, schema
from registry.catalog.rows import Reading, select

_TOKENS = schema.TOKENS

TOKENS: Reading[rows.Token] = select(_TOKENS).order_by(_TOKENS.c.id)
OF_DIGEST: Reading[rows.Token] = select(_TOKENS).where(_TOKENS.c.digest == bindparam("digest"))
OF_NUMBER: Reading[rows.Token] = select(_TOKENS).where(_TOKENS.c.id == bindparam("number"))
ADD = insert(_TOKENS)
CHANGE_TOKEN = update(_TOKENS).where(_TOKENS.c.id == bindparam("number"))
"""The other parameters are the columns that change."""
