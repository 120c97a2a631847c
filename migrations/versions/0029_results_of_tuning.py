"""Results of tuning have no metrics of the test images."""

import sqlalchemy as sa
from alembic import op

from migrations.online import create_index

revision = "0029"
down_revision = "0028"

_FLOATS = (
    "test_accuracy",
    "test_loss",
    "test_brier",
    "test_ece",
    "generalization_gap_accuracy",
    "generalization_gap_loss",
)


_TUNING = sa.text("purpose = 'tune'")


def upgrade() -> None:
    _set_nullable(True)
    create_index(
        "ix_jobs_tuning", "jobs", ["dataset", "state"], sqlite_where=_TUNING, postgresql_where=_TUNING
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_tuning", "jobs")
    # The former release cannot read them.
    op.execute("DELETE FROM jobs WHERE id IN (SELECT job_id FROM results WHERE test_loss IS NULL)")
    _set_nullable(False)


def _set_nullable(nullable: bool) -> None:
    with op.batch_alter_table("results") as batch:
        for column in _FLOATS:
            batch.alter_column(column, existing_type=sa.Float(), nullable=nullable)
        batch.alter_column("predictions_path", existing_type=sa.Text(), nullable=nullable)
        batch.alter_column("predictions_sha256", existing_type=sa.String(length=64), nullable=nullable)
