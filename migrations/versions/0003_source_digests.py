"""A source's digest says by which function it was taken.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-25 22:45:00.000000
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE versions RENAME COLUMN source_sha256 TO source_digest")
    op.execute("UPDATE versions SET source_digest = 'sha256:' || source_digest WHERE source_digest IS NOT NULL")


def downgrade() -> None:
    op.execute("UPDATE versions SET source_digest = NULL WHERE source_digest NOT LIKE 'sha256:%'")
    op.execute("UPDATE versions SET source_digest = substr(source_digest, 8) WHERE source_digest IS NOT NULL")
    op.execute("ALTER TABLE versions RENAME COLUMN source_digest TO source_sha256")
