"""Models that keep what they are whatever they are called, tags, and what else is known of a version.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-26 01:00:00.000000
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from blake3 import blake3

revision = "0004"
down_revision = "0003"

FACTS: dict[str, Any] = {
    **dict.fromkeys(("parent_uid", "parent_record", "base", "builder", "run", "saved_at", "source_uri"), sa.String()),
    **dict.fromkeys(("parent_number", "epoch", "step"), sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
}
INDEXES = ("record", "weights", "parent_record", "base")
LISTING = ["trashed_at", "model_id", "number", "created_at", "byte_count", "parameter_count", "epoch", "step"]


def upgrade() -> None:
    op.add_column("models", sa.Column("uid", sa.String(), nullable=False, server_default=sa.text("''")))
    op.add_column("models", sa.Column("card", sa.String(), nullable=True))
    for name, kind in FACTS.items():
        op.add_column("versions", sa.Column(name, kind, nullable=True))
    op.add_column("versions", sa.Column("sealed_as", sa.String(), nullable=False, server_default=sa.text("''")))
    op.create_table(
        "former_names",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_former_names_model_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_former_names")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_former_names_model_id", "former_names", ["model_id"])
    op.create_table(
        "tags",
        sa.Column("version_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_tags_version_id")),
        sa.PrimaryKeyConstraint("version_id", "key", name=op.f("pk_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tags_key_value", "tags", ["key", "value"])
    for name in INDEXES:
        op.create_index(f"ix_versions_{name}", "versions", [name])
    op.create_index("ix_versions_listing", "versions", LISTING)
    _name_what_is_there(op.get_bind())
    op.create_index("ix_models_uid", "models", ["uid"], unique=True)


def _name_what_is_there(connection: sa.Connection) -> None:
    """Say what each model is, by the hash of its first event: a copy of this home that is upgraded says the same."""
    first = "SELECT hash FROM events WHERE events.name = models.name ORDER BY events.id LIMIT 1"
    for key, event in connection.execute(sa.text(f"SELECT id, ({first}) FROM models")).all():
        uid = blake3(f"model of {event or key}".encode()).hexdigest()[:32]
        connection.execute(sa.text("UPDATE models SET uid = :uid WHERE id = :key"), {"uid": uid, "key": key})
    name = "SELECT models.name FROM models WHERE models.id = versions.model_id"
    connection.execute(sa.text(f"UPDATE versions SET sealed_as = ({name})"))


def downgrade() -> None:
    op.drop_index("ix_models_uid", "models")
    op.drop_index("ix_versions_listing", "versions")
    for name in INDEXES:
        op.drop_index(f"ix_versions_{name}", "versions")
    op.drop_table("tags")
    op.drop_table("former_names")
    with op.batch_alter_table("versions") as batch:
        for name in ("sealed_as", *FACTS):
            batch.drop_column(name)
    for name in ("card", "uid"):
        op.drop_column("models", name)
