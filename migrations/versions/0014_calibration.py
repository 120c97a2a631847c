"""Results have a debiased calibration error."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("results", sa.Column("test_ece_debiased", sa.Double()))
    op.create_index(op.f("ix_results_test_ece_debiased_job_id"), "results", ["test_ece_debiased", "job_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_results_test_ece_debiased_job_id"), "results")
    op.drop_column("results", "test_ece_debiased")
