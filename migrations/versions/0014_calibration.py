"""Results have a debiased calibration error."""

import sqlalchemy as sa
from alembic import op

from migrations.online import add_column, create_index

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    add_column("results", sa.Column("test_ece_debiased", sa.Double()))
    create_index("ix_results_test_ece_debiased_job_id", "results", ["test_ece_debiased", "job_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_results_test_ece_debiased_job_id"), "results")
    op.drop_column("results", "test_ece_debiased")
