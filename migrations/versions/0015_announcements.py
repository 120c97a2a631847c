"""Webhooks get messages about finished experiments."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    # Experiments from before are announced when they finish again, and stored webhooks go on as they were.
    op.add_column(
        "experiments", sa.Column("announced", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    experiments = sa.table("experiments", sa.column("announced", sa.Boolean))
    op.execute(sa.update(experiments).values(announced=True))
    op.create_index("ix_experiments_announced", "experiments", ["announced"])
    op.add_column(
        "webhooks", sa.Column("experiments", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    with op.batch_alter_table("deliveries") as batch:
        batch.add_column(sa.Column("experiment_id", sa.String(40)))
        batch.create_foreign_key(
            "fk_deliveries_experiment_id", "experiments", ["experiment_id"], ["id"], ondelete="CASCADE"
        )
        batch.create_index("ix_deliveries_experiment_id", ["experiment_id"])


def downgrade() -> None:
    with op.batch_alter_table("deliveries") as batch:
        batch.drop_index("ix_deliveries_experiment_id")
        batch.drop_constraint("fk_deliveries_experiment_id", type_="foreignkey")
        batch.drop_column("experiment_id")
    op.drop_column("webhooks", "experiments")
    op.drop_index("ix_experiments_announced", "experiments")
    op.drop_column("experiments", "announced")
