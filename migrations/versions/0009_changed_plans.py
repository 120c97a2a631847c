"""Experiments know whether seeds or variants were added when there were results already."""

from datetime import timedelta

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

# All jobs of an experiment are created within one transaction.
LATER = timedelta(seconds=10)

experiments = sa.table(
    "experiments",
    sa.column("id", sa.String),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("document", sa.JSON),
    sa.column("extended", sa.Boolean),
)
jobs = sa.table("jobs", sa.column("id", sa.String), sa.column("created_at", sa.DateTime(timezone=True)))
runs = sa.table(
    "experiment_runs",
    *(sa.column(name, sa.String) for name in ("experiment_id", "variant", "job_id")),
    sa.column("seed", sa.Integer),
)


def upgrade() -> None:
    op.add_column(
        "experiments", sa.Column("extended", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    connection = op.get_bind()
    created = {row.id: row for row in connection.execute(sa.select(experiments))}
    extended = set()
    for column in (runs.c.seed, runs.c.variant):
        # What has no early job was added later; a single late job may be a retry.
        query = (
            sa.select(runs.c.experiment_id, sa.func.min(jobs.c.created_at).label("first"))
            .join(jobs, jobs.c.id == runs.c.job_id)
            .group_by(runs.c.experiment_id, column)
        )
        for experiment_id, first in connection.execute(query).all():
            row = created[experiment_id]
            # A rule that looks at widths only does not change the plan: it is the plan.
            if first > row.created_at + LATER and not row.document.get("stopping_rule"):
                extended.add(experiment_id)
    if extended:
        one = sa.update(experiments).where(experiments.c.id == sa.bindparam("extended_id"))
        connection.execute(one.values(extended=True), [{"extended_id": key} for key in sorted(extended)])


def downgrade() -> None:
    op.drop_column("experiments", "extended")
