"""What the API keeps of keys, repeated requests, webhooks and audits; and what lists of jobs search by."""

import sqlalchemy as sa
from alembic import op

from migrations.online import create_index, create_table, execute_in_batches

revision = "0006"
down_revision = "0005"

SORTABLE = (
    "test_accuracy",
    "test_loss",
    "test_brier",
    "test_ece",
    "train_accuracy",
    "train_loss",
    "validation_accuracy",
    "validation_loss",
    "generalization_gap_accuracy",
    "generalization_gap_loss",
    "best_epoch",
    "reported_epoch",
    "epochs_run",
    "parameters",
    "zero_weight_fraction",
    "near_zero_weight_fraction",
    "weight_norm",
    "training_seconds",
    "training_flops",
)

NEXT: list[str | sa.ColumnElement[str]] = [
    "state",
    sa.literal_column("priority DESC", sa.String),
    "created_at",
    "id",
]

# On jobs that are there already.
TECHNIQUES = """
    INSERT INTO job_techniques (job_id, technique, created_at) SELECT jobs.id, entry.key, jobs.created_at
    FROM jobs, {entries} AS entry WHERE entry.{not_null} AND jobs.id > :after AND jobs.id <= :until
    ON CONFLICT DO NOTHING
"""
LABELS = """
    INSERT INTO job_labels (job_id, name, value, created_at)
    SELECT jobs.id, entry.key, entry.value, jobs.created_at FROM jobs, {entries} AS entry
    WHERE jobs.id > :after AND jobs.id <= :until
    ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    # Large tables first, as PostgreSQL commits these; the rest is one transaction.
    create_table(
        "job_labels",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_labels_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "name", name=op.f("pk_job_labels")),
    )
    create_table(
        "job_techniques",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("technique", sa.String(length=63), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_techniques_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "technique", name=op.f("pk_job_techniques")),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        techniques, not_null = "json_each(jobs.spec, '$.regularization')", "type <> 'null'"
        labels = "json_each(jobs.labels)"
    else:
        techniques, not_null = "json_each_text(jobs.spec -> 'regularization')", "value IS NOT NULL"
        labels = "json_each_text(jobs.labels)"
    execute_in_batches(TECHNIQUES.format(entries=techniques, not_null=not_null), "jobs")
    execute_in_batches(LABELS.format(entries=labels), "jobs")
    create_index(
        "ix_job_labels_name_value_created_at_job_id",
        "job_labels",
        ["name", "value", "created_at", "job_id"],
    )
    create_index(
        "ix_job_techniques_technique_created_at_job_id",
        "job_techniques",
        ["technique", "created_at", "job_id"],
    )
    create_index("ix_jobs_dataset_created_at_id", "jobs", ["dataset", "created_at", "id"])
    create_index("ix_jobs_owner_created_at_id", "jobs", ["owner", "created_at", "id"])
    create_index("ix_jobs_owner_state_created_at_id", "jobs", ["owner", "state", "created_at", "id"])
    for measure in SORTABLE:
        create_index(f"ix_results_{measure}_job_id", "results", [measure, "job_id"])

    op.create_table(
        "audit_events",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("action", sa.String(length=63), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"])
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.String(length=100), nullable=False),
        sa.Column("states", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index(op.f("ix_webhooks_owner"), "webhooks", ["owner"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("webhook_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("event", sa.String(length=63), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_job_id"), "deliveries", ["job_id"])
    op.create_index(op.f("ix_deliveries_next_attempt_at"), "deliveries", ["next_attempt_at"])
    op.create_index(
        op.f("ix_deliveries_webhook_id_created_at_id"), "deliveries", ["webhook_id", "created_at", "id"]
    )
    # No release has written a key.
    op.execute("DELETE FROM api_keys")
    with op.batch_alter_table("api_keys") as batch:
        batch.add_column(sa.Column("owner", sa.String(length=40), nullable=False))
    op.create_index(op.f("ix_api_keys_owner"), "api_keys", ["owner"])
    # SQLite's table is rebuilt, and its index of descending priorities would come back ascending.
    if sqlite:
        op.drop_index("ix_jobs_next", "jobs")
    with op.batch_alter_table("jobs") as batch:
        batch.drop_constraint(op.f("uq_jobs_owner_idempotency_key"), type_="unique")
        batch.drop_column("idempotency_key")
    if sqlite:
        op.create_index("ix_jobs_next", "jobs", NEXT)
    op.create_index(op.f("ix_experiments_owner_created_at_id"), "experiments", ["owner", "created_at", "id"])

    op.add_column("jobs", sa.Column("priced_flops", sa.Float(), server_default="0", nullable=False))
    op.add_column("results", sa.Column("regbench", sa.String(length=63), nullable=True))
    for measure in ("test_accuracy", "test_loss"):
        op.drop_index(op.f(f"ix_results_{measure}"), "results")


def downgrade() -> None:
    for measure in SORTABLE:
        op.drop_index(op.f(f"ix_results_{measure}_job_id"), "results")
    for measure in ("test_accuracy", "test_loss"):
        op.create_index(op.f(f"ix_results_{measure}"), "results", [measure])
    op.drop_column("results", "regbench")
    op.drop_column("jobs", "priced_flops")

    op.drop_index(op.f("ix_experiments_owner_created_at_id"), "experiments")
    op.drop_index(op.f("ix_jobs_dataset_created_at_id"), "jobs")
    op.drop_index(op.f("ix_jobs_owner_created_at_id"), "jobs")
    op.drop_index(op.f("ix_jobs_owner_state_created_at_id"), "jobs")
    op.drop_index("ix_jobs_next", "jobs")
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("idempotency_key", sa.String(length=255), nullable=True))
        batch.create_unique_constraint(op.f("uq_jobs_owner_idempotency_key"), ["owner", "idempotency_key"])
    op.create_index("ix_jobs_next", "jobs", NEXT)
    op.drop_index(op.f("ix_api_keys_owner"), "api_keys")
    op.drop_column("api_keys", "owner")

    for table in (
        "job_techniques",
        "job_labels",
        "deliveries",
        "webhooks",
        "idempotency_keys",
        "audit_events",
    ):
        op.drop_table(table)
