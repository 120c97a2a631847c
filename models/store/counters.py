"""What the whole installation has done so far: sums that only grow, whatever job is deleted."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.store.service_tables import Counter

COUNTERS = {
    "compilations": "XLA compilations of all workers",
    "compile_seconds": "Seconds that XLA compilations took",
    "trainings": "Trainings that ended with a result",
    "epochs": "Epochs of trainings that ended with a result",
    "training_seconds": "Seconds of the epochs of trainings that ended with a result, including evaluations",
    "failures": "Jobs that failed",
    "retries": "Failed or cancelled jobs that were submitted again",
    "lease_expiries": "Jobs taken from a worker that did not renew its lease",
    "process_deaths": "Jobs taken from a training process that died",
    "webhook_deliveries": "Webhook messages that arrived",
    "webhook_failures": "Attempts to send a webhook message that failed",
}
"""What is counted, each with its explanation."""
LABELS = {"failures": ("code", "worker_crashed")}
"""Counters with a label, stored as `name:value`: its name, and a value that is always shown."""


def add(session: Session, **amounts: float) -> None:
    """Add to the counters named, in one statement that loses nothing to others who add at the same time."""
    names = {name.partition(":")[0] for name in amounts}
    assert names <= COUNTERS.keys(), f"{[*amounts]}: not all are in COUNTERS"  # noqa: S101 (a bug)
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    # Sorted, so that two transactions lock rows in the same order and neither waits for the other forever.
    new = insert(Counter).values([{"name": name, "value": amounts[name]} for name in sorted(amounts)])
    session.execute(
        new.on_conflict_do_update(
            index_elements=[Counter.name], set_={"value": Counter.value + new.excluded.value}
        )
    )


def read(session: Session) -> dict[str, float]:
    """Every counter; 0 for what has not been counted yet."""
    rows = session.execute(select(Counter.name, Counter.value)).all()
    return dict.fromkeys(COUNTERS, 0.0) | dict(rows)
