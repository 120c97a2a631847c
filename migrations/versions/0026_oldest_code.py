"""The database names the oldest release that works with it, so that a rolling upgrade needs no pause."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column(
        "alembic_version",
        sa.Column("oldest_code", sa.String(length=32), server_default="0026", nullable=False),
    )


def downgrade() -> None:
    op.execute("ALTER TABLE alembic_version DROP COLUMN oldest_code")
