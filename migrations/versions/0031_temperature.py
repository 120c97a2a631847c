"""Results have a temperature, and the test loss and calibration error at it."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"

COLUMNS = ("temperature", "test_loss_scaled", "test_ece_scaled")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("results", sa.Column(name, sa.Double()))
        op.create_index(op.f(f"ix_results_{name}_job_id"), "results", [name, "job_id"])


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_index(op.f(f"ix_results_{name}_job_id"), "results")
        op.drop_column("results", name)
