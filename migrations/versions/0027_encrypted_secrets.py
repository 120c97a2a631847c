"""The secrets of webhooks may be stored encrypted, which takes more characters."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

_SHORT = sa.String(length=100)


def upgrade() -> None:
    with op.batch_alter_table("webhooks") as batch:
        batch.alter_column("secret", existing_type=_SHORT, type_=sa.Text(), existing_nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("webhooks") as batch:
        batch.alter_column("secret", existing_type=sa.Text(), type_=_SHORT, existing_nullable=False)
