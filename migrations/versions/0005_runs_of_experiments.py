"""An experiment's runs: a job may serve several experiments, so the link is a row of its own."""

import sqlalchemy as sa
from alembic import op

from migrations.online import create_index, create_table, execute_in_batches

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    create_table(
        "experiment_runs",
        sa.Column("experiment_id", sa.String(length=40), nullable=False),
        sa.Column("variant", sa.String(length=200), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_experiment_runs_experiment_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_experiment_runs_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "variant", "seed", name=op.f("pk_experiment_runs")),
    )
    # Of a line of retries the newest; of jobs that repeat a variant and seed, the newest too.
    execute_in_batches(
        """
        INSERT INTO experiment_runs (experiment_id, variant, seed, job_id, reused)
        SELECT experiment_id, variant, seed, max(id), false FROM jobs
        WHERE experiment_id IS NOT NULL AND variant IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM jobs AS retries WHERE retries.retry_of = jobs.id)
          AND experiment_id > :after AND experiment_id <= :until
        GROUP BY experiment_id, variant, seed
        ON CONFLICT DO NOTHING
        """,
        "experiments",
    )
    create_index("ix_experiment_runs_job_id", "experiment_runs", ["job_id"])
    op.add_column(
        "experiments", sa.Column("growing", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_index(op.f("ix_experiments_growing"), "experiments", ["growing"])


def downgrade() -> None:
    op.drop_index(op.f("ix_experiments_growing"), table_name="experiments")
    op.drop_column("experiments", "growing")
    op.drop_index(op.f("ix_experiment_runs_job_id"), table_name="experiment_runs")
    op.drop_table("experiment_runs")
