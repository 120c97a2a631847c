"""Only a job that waits for a backoff has a time before which it must not start."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    make_nullable(True)


def downgrade() -> None:
    op.execute("UPDATE jobs SET run_after = created_at WHERE run_after IS NULL")
    make_nullable(False)


def make_nullable(nullable: bool) -> None:
    moment = sa.DateTime(timezone=True)
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("jobs", "run_after", existing_type=moment, nullable=nullable)
        return
    # SQLite's table is rebuilt, and its index of descending priorities would come back ascending.
    op.drop_index("ix_jobs_next", "jobs")
    with op.batch_alter_table("jobs") as batch:
        batch.alter_column("run_after", existing_type=moment, nullable=nullable)
    op.create_index("ix_jobs_next", "jobs", ["state", sa.text("priority DESC"), "created_at", "id"])
