"""Where a version was copied from, and what an event leaves of its version.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-25 18:30:00.000000
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Not in batch mode: that makes a table anew, and the new one would lack the triggers that protect the trail.
    op.add_column("versions", sa.Column("origin", sa.String(), nullable=True))
    op.add_column("events", sa.Column("facts", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("events", "facts")
    op.drop_column("versions", "origin")
