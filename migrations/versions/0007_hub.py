"""SHA-256 of the files that a server makes of weights, by what decides their bytes.

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-26 04:00:00.000000
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "file_digests",
        sa.Column("weights", sa.String(), nullable=False),
        sa.Column("ties", sa.String(), nullable=False),
        sa.Column("format", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("weights", "ties", "format", name=op.f("pk_file_digests")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("file_digests")
