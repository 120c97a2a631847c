"""Find an owner's next job in an index that no other statement uses, whatever the statistics say."""

import sqlalchemy as sa
from alembic import op

from migrations.online import create_index

revision = "0022"
down_revision = "0021"

_QUEUED_OWNER = "(CASE WHEN (state = 'queued') THEN owner ELSE NULL END)"


def upgrade() -> None:
    op.drop_index("ix_jobs_next_of_owner", "jobs")
    _create(
        *(sa.text(_QUEUED_OWNER), sa.text("priority DESC"), "created_at", "id", "state", "owner"),
        where=f"{_QUEUED_OWNER} IS NOT NULL",
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_next_of_owner", "jobs")
    _create("state", "owner", sa.text("priority DESC"), "created_at", "id", where="state = 'queued'")


def _create(*columns: str | sa.TextClause, where: str) -> None:
    condition = sa.text(where)
    create_index(
        "ix_jobs_next_of_owner", "jobs", [*columns], sqlite_where=condition, postgresql_where=condition
    )
