"""Results have accuracies on damaged test images."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("results", sa.Column("robustness", sa.JSON()))


def downgrade() -> None:
    op.drop_column("results", "robustness")
