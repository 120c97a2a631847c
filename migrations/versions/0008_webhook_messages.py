"""Webhooks know their installation's address, and a test message is about no job."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("base_url", sa.Text(), server_default="", nullable=False))
    with op.batch_alter_table("deliveries") as batch:
        batch.alter_column("job_id", existing_type=sa.String(length=63), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM deliveries WHERE job_id IS NULL")
    with op.batch_alter_table("deliveries") as batch:
        batch.alter_column("job_id", existing_type=sa.String(length=63), nullable=False)
    op.drop_column("webhooks", "base_url")
