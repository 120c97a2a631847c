"""Results have a temperature, and the test loss and calibration error at it."""

import sqlalchemy as sa
from alembic import op

from migrations.online import add_column, create_index

revision = "0031"
down_revision = "0030"

COLUMNS = ("temperature", "test_loss_scaled", "test_ece_scaled")


def upgrade() -> None:
    for name in COLUMNS:
        add_column("results", sa.Column(name, sa.Double()))
        create_index(f"ix_results_{name}_job_id", "results", [name, "job_id"])


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_index(op.f(f"ix_results_{name}_job_id"), "results")
        op.drop_column("results", name)
