"""The finished jobs on a dataset can be counted without reading them."""

from alembic import op

from migrations.online import create_index

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    create_index("ix_jobs_dataset_state_owner", "jobs", ["dataset", "state", "owner"])


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_dataset_state_owner"), "jobs")
