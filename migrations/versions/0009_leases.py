"""Leases: what running pushes are about to use, for collections on other machines.

Revision ID: 0009
Revises: 0008
Create Date: 2026-11-26 06:00:00.000000
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("blobs", sa.String(), nullable=False),
        sa.Column("doomed", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("leases")
