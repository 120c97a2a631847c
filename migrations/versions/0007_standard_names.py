"""Columns, and fields of experiments' documents, under the field's standard names; every value stays."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

COLUMNS = [
    ("results", "portrait", "diagnostics"),
    ("jobs", "priced_flops", "estimated_flops"),
    ("experiments", "growing", "auto_extending"),
]
FIELDS = {"allow_other_changes": "allow_confounders", "until": "stopping_rule"}
RULE_FIELDS = {"measure": "metric"}

experiments = sa.table("experiments", sa.column("id", sa.String), sa.column("document", sa.JSON))


def upgrade() -> None:
    op.drop_index(op.f("ix_experiments_growing"), "experiments")
    for table, old, new in COLUMNS:
        # In these words, because Alembic would copy SQLite's table.
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    op.create_index(op.f("ix_experiments_auto_extending"), "experiments", ["auto_extending"])
    _rewrite_documents("stopping_rule", FIELDS, RULE_FIELDS)


def downgrade() -> None:
    op.drop_index(op.f("ix_experiments_auto_extending"), "experiments")
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
    op.create_index(op.f("ix_experiments_growing"), "experiments", ["growing"])
    _rewrite_documents(
        "until",
        {new: old for old, new in FIELDS.items()},
        {new: old for old, new in RULE_FIELDS.items()},
    )


def _rewrite_documents(rule: str, fields: dict[str, str], rule_fields: dict[str, str]) -> None:
    connection = op.get_bind()
    for experiment_id, document in connection.execute(sa.select(experiments)).all():
        renamed = _rename(document, fields)
        if renamed.get(rule):
            renamed[rule] = _rename(renamed[rule], rule_fields)
        connection.execute(
            sa.update(experiments).where(experiments.c.id == experiment_id).values(document=renamed)
        )


def _rename(document: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in document.items()}
