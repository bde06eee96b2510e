"""Several models that were pushed as one version, each with its class and constructor arguments.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-26 04:00:00.000000
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("versions", sa.Column("parts", sa.String(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("versions") as batch:
        batch.drop_column("parts")
