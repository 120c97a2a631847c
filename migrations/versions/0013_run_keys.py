"""A run is (variant, point, part, seed, purpose), so that an experiment can have axes, parts and tuning."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

OLD_KEY = ["experiment_id", "variant", "seed"]
NEW_KEY = [*OLD_KEY, "point", "part", "purpose"]


def upgrade() -> None:
    for table in ("experiment_runs", "jobs"):
        op.add_column(table, sa.Column("point", sa.Text(), server_default="", nullable=False))
        op.add_column(table, sa.Column("part", sa.Integer(), server_default="-1", nullable=False))
        op.add_column(
            table, sa.Column("purpose", sa.String(length=16), server_default="judge", nullable=False)
        )
    replace_primary_key(NEW_KEY)


def downgrade() -> None:
    op.execute("DELETE FROM experiment_runs WHERE point <> '' OR part <> -1 OR purpose <> 'judge'")
    replace_primary_key(OLD_KEY)
    for table in ("experiment_runs", "jobs"):
        for column in ("purpose", "part", "point"):
            op.drop_column(table, column)


def replace_primary_key(columns: list[str]) -> None:
    with op.batch_alter_table("experiment_runs") as batch:
        batch.drop_constraint("pk_experiment_runs", type_="primary")
        batch.create_primary_key("pk_experiment_runs", columns)
