"""Jobs pause by themselves after an epoch, for successive halving."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("pause_after", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "pause_after")
