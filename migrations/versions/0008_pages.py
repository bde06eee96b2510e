"""What pages show and nobody wants to compute twice: what tensors' values are like, and what audits said.

Revision ID: 0008
Revises: 0007
Create Date: 2026-11-26 05:00:00.000000
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tensor_statistics",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tensor_statistics")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audits",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("asked", sa.String(), nullable=True),
        sa.Column("versions", WHOLE, nullable=False),
        sa.Column("faults", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audits")),
    )


def downgrade() -> None:
    op.drop_table("audits")
    op.drop_table("tensor_statistics")
