"""A job is retried once."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(op.f("ix_jobs_retry_of"), "jobs", ["retry_of"], unique=True)


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_retry_of"), table_name="jobs")
