"""The tables. What is JSON in them is canonical JSON as text; times are ISO 8601 in UTC, so that they sort."""

from __future__ import annotations

from typing import Annotated

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, LargeBinary, MetaData, UniqueConstraint
from sqlalchemy import Table as CoreTable
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Key = Annotated[int, mapped_column(primary_key=True)]


class Table(DeclarativeBase):
    """The parent of all tables; every constraint has a name, so that a migration can change it."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


class Model(Table):
    """A name."""

    __tablename__ = "models"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True)
    next_number: Mapped[int]
    """The number of the version to come: it only grows, so no number is used twice."""


class Version(Table):
    """One checkpoint; its facts never change, but for the note and its way through the trash."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        Index("ix_versions_model_id_weights", "model_id", "weights"),
        Index("ix_versions_trashed_at", "trashed_at"),
        CheckConstraint("number > 0", name="number_is_positive"),
    )

    id: Mapped[Key]
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    number: Mapped[int]
    weights: Mapped[str]
    """Digest of the canonical weights."""
    record: Mapped[str]
    """Digest of everything that decides what is loaded."""
    seal: Mapped[str]
    """Digest of name, number and record."""
    wrapper: Mapped[str]
    saved_as: Mapped[str]
    unwrapping: Mapped[str]
    world_size: Mapped[int | None]
    model_class: Mapped[str | None]
    init: Mapped[str]
    init_as: Mapped[str]
    source_name: Mapped[str]
    source_sha256: Mapped[str | None]
    source_format: Mapped[str]
    weights_key: Mapped[str]
    tensor_count: Mapped[int]
    parameter_count: Mapped[int]
    byte_count: Mapped[int]
    dtypes: Mapped[str]
    parent: Mapped[str | None]
    note: Mapped[str]
    torch_version: Mapped[str | None]
    git_commit: Mapped[str | None]
    creator: Mapped[str]
    created_at: Mapped[str]
    trashed_at: Mapped[str | None]
    purged_at: Mapped[str | None]
    """When its weights were deleted; the row stays, so that the number keeps its meaning."""
    origin: Mapped[str | None]
    """Where it was copied from, as JSON; null for one that was pushed here."""


class Document(Table):
    """What is too large for a listing: the manifest, the training state, the example."""

    __tablename__ = "documents"

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class Blob(Table):
    """A file of tensors."""

    __tablename__ = "blobs"

    id: Mapped[Key]
    digest: Mapped[str] = mapped_column(unique=True)
    nbytes: Mapped[int]
    created_at: Mapped[str]


class StoredTensor(Table):
    """Where a push finds a tensor that is stored already."""

    __tablename__ = "stored_tensors"
    __table_args__ = (Index("ix_stored_tensors_blob_id", "blob_id"), {"sqlite_with_rowid": False})

    digest: Mapped[str] = mapped_column(primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"))
    offset: Mapped[int]


class VersionBlob(Table):
    """A version needs a blob."""

    __tablename__ = "version_blobs"
    __table_args__ = (Index("ix_version_blobs_blob_id", "blob_id"), {"sqlite_with_rowid": False})

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), primary_key=True)


class Metric(Table):
    """A figure of a version."""

    __tablename__ = "metrics"
    __table_args__ = (Index("ix_metrics_key_value", "key", "value"), {"sqlite_with_rowid": False})

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(Double)


class Alias(Table):
    """A movable name of a version; its history is in the trail."""

    __tablename__ = "aliases"
    __table_args__ = (Index("ix_aliases_version_id", "version_id"), {"sqlite_with_rowid": False})

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))


class Event(Table):
    """Who did what, when; each row's hash covers the row and the hash before it. Triggers refuse changes."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_name", "name"),)

    id: Mapped[Key]
    at: Mapped[str]
    actor: Mapped[str]
    verb: Mapped[str]
    name: Mapped[str | None]
    reference: Mapped[str | None]
    digest: Mapped[str | None]
    details: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]
    facts: Mapped[str | None]
    """Digest of all that the catalog says of the version after it; null where it is about none, or older than that."""


class Trail(Table):
    """The trail's end, in one row: with it a trail that was cut short is noticed."""

    __tablename__ = "trail"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[Key]
    length: Mapped[int]
    hash: Mapped[str]


def table(mapped: type[Table]) -> CoreTable:
    """Return a class's table: statements on tables skip the ORM's own compilation, which costs more than SQLite."""
    return Table.metadata.tables[mapped.__tablename__]
