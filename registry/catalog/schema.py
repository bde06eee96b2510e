"""The tables. What is JSON in them is canonical JSON as text; times are ISO 8601 in UTC, so that they sort."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from registry.catalog.facts import declared

METADATA = MetaData(
    # Every constraint has a name, so that a migration can change it.
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# SQLite's integers have 64 bits whatever their name, and only an INTEGER is a key that counts by itself.
_WHOLE = BigInteger().with_variant(Integer(), "sqlite")

# On PostgreSQL a text would else sort by the rules of some language, and no index would find a prefix.
_TEXT = String().with_variant(String(collation="C"), "postgresql")


class _Body(LargeBinary):
    """Bytes as the driver gives them: in an edited row, which an audit shall name, there may be a text."""

    cache_ok = True

    def result_processor(self, dialect: Any, coltype: object) -> None:
        return None


def _text(name: str, *, null: bool = False, **options: Any) -> Column[str]:
    return Column(name, _TEXT, nullable=null, **options)


def _whole(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, _WHOLE, nullable=null)


UNTOLD = {"untold": True}
"""Of a table that the trail says nothing of: its rows follow from others, or pass, and an audit reads none of them."""


def _key() -> Column[int]:
    return Column("id", _WHOLE, primary_key=True)


def _of(name: str, row: str, *, key: bool = False) -> Column[int]:
    return Column(name, _WHOLE, ForeignKey(row), primary_key=key, nullable=False)


MODELS = Table(
    "models",
    METADATA,
    _key(),
    _text("name", unique=True),
    _whole("next_number"),  # of the version to come: it only grows, so no number is used twice
    _text("uid", server_default=text("''")),  # what it is, whatever it is called here and in other homes
    _text("card", null=True),  # what its users should know, in Markdown
    Index("ix_models_uid", "uid", unique=True),
)
"""The names."""

FORMER_NAMES = Table(
    "former_names",
    METADATA,
    _text("name", primary_key=True),
    _of("model_id", "models.id"),
    Index("ix_former_names_model_id", "model_id"),
    sqlite_with_rowid=False,
)
"""What models were called before; none of these is given to another one."""

LISTED = ("created_at", "byte_count", "parameter_count", "epoch", "step")
"""What versions can be sorted by, besides their metrics."""

VERSIONS = Table(
    "versions",
    METADATA,
    _key(),
    _of("model_id", "models.id"),
    _whole("number"),
    _text("weights"),  # digest of the canonical weights
    _text("record"),  # digest of everything that decides what is loaded
    _text("seal"),  # digest of name, number and record
    *(_whole(name, null=null) if whole else _text(name, null=null) for name, whole, null in declared()),
    _text("created_at"),
    _text("trashed_at", null=True),
    _text("purged_at", null=True),  # when its weights were deleted; the row stays, so that the number keeps its meaning
    _text("sealed_as", server_default=text("''")),  # the model's name when the seal was made
    UniqueConstraint("model_id", "number"),
    Index("ix_versions_model_id_weights", "model_id", "weights"),
    Index("ix_versions_trashed_at", "trashed_at"),
    Index("ix_versions_record", "record"),
    Index("ix_versions_weights", "weights"),
    Index("ix_versions_parent_record", "parent_record"),
    Index("ix_versions_base", "base"),
    # What a listing counts and sorts by, in rows a tenth as long as the table's.
    Index("ix_versions_listing", "trashed_at", "model_id", "number", *LISTED),
    CheckConstraint("number > 0", name="number_is_positive"),
)
"""One checkpoint a row; its facts never change, but for the note and its way through the trash."""

DOCUMENTS = Table(
    "documents",
    METADATA,
    _of("version_id", "versions.id", key=True),
    _text("kind", primary_key=True),
    Column("body", _Body(), nullable=False),
)
"""What is too large for a listing: the manifest, the training state, the example."""

BLOBS = Table("blobs", METADATA, _key(), _text("digest", unique=True), _whole("nbytes"), _text("created_at"))
"""Files of tensors."""

STORED_TENSORS = Table(
    "stored_tensors",
    METADATA,
    _text("digest", primary_key=True),
    _of("blob_id", "blobs.id"),
    _whole("offset"),
    Index("ix_stored_tensors_blob_id", "blob_id"),
    sqlite_with_rowid=False,
)
"""Where a push finds a tensor that is stored already."""

VERSION_BLOBS = Table(
    "version_blobs",
    METADATA,
    _of("version_id", "versions.id", key=True),
    _of("blob_id", "blobs.id", key=True),
    Index("ix_version_blobs_blob_id", "blob_id"),
    sqlite_with_rowid=False,
)
"""Which blobs a version needs."""

METRICS = Table(
    "metrics",
    METADATA,
    _of("version_id", "versions.id", key=True),
    _text("key", primary_key=True),
    Column("value", Double(), nullable=False),
    Index("ix_metrics_key_value", "key", "value"),
    sqlite_with_rowid=False,
)
"""Figures of versions."""

TAGS = Table(
    "tags",
    METADATA,
    _of("version_id", "versions.id", key=True),
    _text("key", primary_key=True),
    _text("value"),
    Index("ix_tags_key_value", "key", "value"),
    sqlite_with_rowid=False,
)
"""What users say of versions, word by word."""

ALIASES = Table(
    "aliases",
    METADATA,
    _of("model_id", "models.id", key=True),
    _text("name", primary_key=True),
    _of("version_id", "versions.id"),
    Index("ix_aliases_version_id", "version_id"),
    sqlite_with_rowid=False,
)
"""Movable names of versions; their history is in the trail."""

EVENTS = Table(
    "events",
    METADATA,
    _key(),
    _text("at"),
    _text("actor"),
    _text("verb"),
    _text("name", null=True),
    _text("reference", null=True),
    _text("digest", null=True),
    _text("details"),
    _text("previous"),
    _text("hash"),
    _text("facts", null=True),  # of the version after it; null where it is about none, or older than that
    Index("ix_events_name", "name"),
)
"""Who did what, when; each row's hash covers the row and the hash before it. Triggers refuse changes."""

TRAIL = Table(
    "trail",
    METADATA,
    _key(),
    _whole("length"),
    _text("hash"),
    CheckConstraint("id = 1", name="one_row"),
)
"""The trail's end, in one row: with it a trail that was cut short is noticed. Changes wait for each other here."""

TENSOR_STATISTICS = Table(
    "tensor_statistics",
    METADATA,
    _text("digest", primary_key=True),
    _text("body"),  # JSON
    sqlite_with_rowid=False,
    info=UNTOLD,
)
"""What the values of tensors are like, computed when somebody first looks; the digest says of which bytes."""

AUDITS = Table(
    "audits",
    METADATA,
    _key(),
    _text("at"),
    _text("actor"),
    _text("asked", null=True),  # the model or version that was audited; null for all
    _whole("versions"),  # how many were checked
    _text("faults"),  # JSON: reference to sentences
    info=UNTOLD,
)
"""What audits said. It is no part of the trail: whoever can write here can write anything into it."""

TOKENS = Table(
    "tokens",
    METADATA,
    _key(),
    _text("digest", unique=True),  # SHA-256 of what its user has, which is stored nowhere
    _text("user"),
    _text("role"),
    _text("models"),  # patterns of their names
    _text("created_at"),
    _text("expires_at", null=True),
    _text("last_used_at", null=True),  # within an hour; the only column that no event tells of
    _text("revoked_at", null=True),
)
"""Who may do what over HTTP."""

FILE_DIGESTS = Table(
    "file_digests",
    METADATA,
    _text("weights", primary_key=True),
    _text("ties", primary_key=True),
    Column("format", _WHOLE, primary_key=True, autoincrement=False),
    _text("sha256"),
    sqlite_with_rowid=False,
    info=UNTOLD,
)
"""What files made of weights hash to, by what decides their bytes."""

LEASES = Table(
    "leases",
    METADATA,
    _text("id", primary_key=True),
    _text("holder"),  # who pushes, for whoever looks
    _whole("expires_at"),  # seconds since 1970 by the clock of the database
    _text("blobs"),  # a JSON array of digests
    _text("doomed"),  # likewise
    sqlite_with_rowid=False,
    info=UNTOLD,
)
"""What running pushes are about to use, and what running collections delete; see ``blobs.leases``."""
