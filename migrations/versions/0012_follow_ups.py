"""Experiments can follow up another one."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("experiments", sa.Column("confirms", sa.String(40)))
    op.create_index(op.f("ix_experiments_confirms"), "experiments", ["confirms"])


def downgrade() -> None:
    op.drop_index(op.f("ix_experiments_confirms"), "experiments")
    op.drop_column("experiments", "confirms")
