"""Jobs and experiments can be annotated and archived."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for table in ("jobs", "experiments"):
        op.add_column(table, sa.Column("notes", sa.Text()))
        op.add_column(table, sa.Column("archived", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("experiments", sa.Column("labels", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.drop_column("experiments", "labels")
    for table in ("experiments", "jobs"):
        op.drop_column(table, "archived")
        op.drop_column(table, "notes")
