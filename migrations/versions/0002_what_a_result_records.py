"""what a result records, and counters."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.add_column(sa.Column("near_zero_weight_fraction", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("compilations", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("layers", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("confusion", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.drop_column("confusion")
        batch_op.drop_column("layers")
        batch_op.drop_column("compilations")
        batch_op.drop_column("near_zero_weight_fraction")

    op.drop_table("counters")
