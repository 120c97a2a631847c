"""What ended in the last day is counted without reading every job."""

from alembic import op

from migrations.online import create_index

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    create_index("ix_jobs_finished_at", "jobs", ["finished_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_finished_at"), "jobs")
