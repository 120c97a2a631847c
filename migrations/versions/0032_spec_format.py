"""A job has the format of its specification, and workers leave those that they do not know in the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("spec_format", sa.Integer(), server_default="1", nullable=False))
    op.execute(
        "UPDATE jobs SET spec_format = 2 WHERE purpose = 'tune' AND state IN ('queued', 'running', 'paused')"
    )
    # Workers of former releases compare no format: they would fail the jobs that they do not know.
    op.execute("UPDATE alembic_version SET oldest_code = '0032'")


def downgrade() -> None:
    op.drop_column("jobs", "spec_format")
    op.execute("UPDATE alembic_version SET oldest_code = '0026'")
