"""Owners take turns at the queue."""

import sqlalchemy as sa
from alembic import op

from migrations.online import create_index

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "turns",
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.Column("served", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_turns")),
    )
    create_index(
        "ix_jobs_next_of_owner",
        "jobs",
        ["state", "owner", sa.text("priority DESC"), "created_at", "id"],
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_next_of_owner", "jobs")
    op.drop_table("turns")
