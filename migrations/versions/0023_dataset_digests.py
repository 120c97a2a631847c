"""The results on the same images can be counted without reading them."""

from alembic import op

from migrations.online import create_index

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    create_index("ix_results_dataset_sha256_job_id", "results", ["dataset_sha256", "job_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_results_dataset_sha256_job_id"), "results")
