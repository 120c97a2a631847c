"""What reports show of a single model: which test images it recognized, and a portrait of its weights."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("results", sa.Column("test_correct", sa.LargeBinary(), nullable=True))
    op.add_column("results", sa.Column("portrait", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("results", "portrait")
    op.drop_column("results", "test_correct")
