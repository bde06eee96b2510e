"""The first tables.

Revision ID: 0001
Revises:
Create Date: 2026-11-23 14:09:06.699913
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("nbytes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blobs")),
        sa.UniqueConstraint("digest", name=op.f("uq_blobs_digest")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("details", sa.String(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_name", "events", ["name"])

    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("next_number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("name", name=op.f("uq_models_name")),
    )
    op.create_table(
        "trail",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_trail_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trail")),
    )
    op.create_table(
        "stored_tensors",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("blob_id", sa.Integer(), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_stored_tensors_blob_id")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_stored_tensors")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_stored_tensors_blob_id", "stored_tensors", ["blob_id"])

    op.create_table(
        "versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("weights", sa.String(), nullable=False),
        sa.Column("record", sa.String(), nullable=False),
        sa.Column("seal", sa.String(), nullable=False),
        sa.Column("wrapper", sa.String(), nullable=False),
        sa.Column("saved_as", sa.String(), nullable=False),
        sa.Column("unwrapping", sa.String(), nullable=False),
        sa.Column("world_size", sa.Integer(), nullable=True),
        sa.Column("model_class", sa.String(), nullable=True),
        sa.Column("init", sa.String(), nullable=False),
        sa.Column("init_as", sa.String(), nullable=False),
        sa.Column("source_name", sa.String(), nullable=False),
        sa.Column("source_sha256", sa.String(), nullable=True),
        sa.Column("source_format", sa.String(), nullable=False),
        sa.Column("weights_key", sa.String(), nullable=False),
        sa.Column("tensor_count", sa.Integer(), nullable=False),
        sa.Column("parameter_count", sa.Integer(), nullable=False),
        sa.Column("byte_count", sa.Integer(), nullable=False),
        sa.Column("dtypes", sa.String(), nullable=False),
        sa.Column("parent", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("torch_version", sa.String(), nullable=True),
        sa.Column("git_commit", sa.String(), nullable=True),
        sa.Column("creator", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("trashed_at", sa.String(), nullable=True),
        sa.Column("purged_at", sa.String(), nullable=True),
        sa.CheckConstraint("number > 0", name=op.f("ck_versions_number_is_positive")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_versions_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("model_id", "number", name=op.f("uq_versions_model_id_number")),
    )
    op.create_index("ix_versions_model_id_weights", "versions", ["model_id", "weights"])
    op.create_index("ix_versions_trashed_at", "versions", ["trashed_at"])

    op.create_table(
        "aliases",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_aliases_model_id")),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_aliases_version_id")),
        sa.PrimaryKeyConstraint("model_id", "name", name=op.f("pk_aliases")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_aliases_version_id", "aliases", ["version_id"])

    op.create_table(
        "documents",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_documents_version_id")),
        sa.PrimaryKeyConstraint("version_id", "kind", name=op.f("pk_documents")),
    )
    op.create_table(
        "metrics",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_metrics_version_id")),
        sa.PrimaryKeyConstraint("version_id", "key", name=op.f("pk_metrics")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_metrics_key_value", "metrics", ["key", "value"])

    op.create_table(
        "version_blobs",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("blob_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_version_blobs_blob_id")),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_version_blobs_version_id")),
        sa.PrimaryKeyConstraint("version_id", "blob_id", name=op.f("pk_version_blobs")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_version_blobs_blob_id", "version_blobs", ["blob_id"])
    op.execute("INSERT INTO trail (id, length, hash) VALUES (1, 0, '')")
    if op.get_bind().dialect.name == "postgresql":
        _protect_the_trail_on_postgresql()
        return
    for change in ("update", "delete"):
        op.execute(
            f"CREATE TRIGGER events_no_{change} BEFORE {change.upper()} ON events "
            "BEGIN SELECT RAISE(ABORT, 'the trail is append-only'); END"
        )


def _protect_the_trail_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_to_change_the_trail() RETURNS trigger LANGUAGE plpgsql AS "
        "$refuse$ BEGIN RAISE EXCEPTION 'the trail is append-only'; END $refuse$"
    )
    op.execute(
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_trail()"
    )
    # From the owner, too: it takes a second thought to give oneself the right again.
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON events FROM PUBLIC, CURRENT_USER")


def downgrade() -> None:
    op.drop_index("ix_version_blobs_blob_id", "version_blobs")

    op.drop_table("version_blobs")
    op.drop_index("ix_metrics_key_value", "metrics")

    op.drop_table("metrics")
    op.drop_table("documents")
    op.drop_index("ix_aliases_version_id", "aliases")

    op.drop_table("aliases")
    op.drop_index("ix_versions_trashed_at", "versions")
    op.drop_index("ix_versions_model_id_weights", "versions")

    op.drop_table("versions")
    op.drop_index("ix_stored_tensors_blob_id", "stored_tensors")

    op.drop_table("stored_tensors")
    op.drop_table("trail")
    op.drop_table("models")
    op.drop_index("ix_events_name", "events")

    op.drop_table("events")
    op.drop_table("blobs")
