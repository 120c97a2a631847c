"""What the whole installation has done so far: sums that only grow, whatever job is deleted."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models.store.tables import Counter

COUNTERS = {
    "compilations": "XLA compilations of all workers",
    "compile_seconds": "Seconds that XLA compilations took",
    "trainings": "Trainings that ended with a result",
    "epochs": "Epochs of trainings that ended with a result",
    "training_seconds": "Seconds of the epochs of trainings that ended with a result, including evaluations",
}
"""What is counted, each with its explanation."""


def add(session: Session, **amounts: float) -> None:
    """Add to the counters named, in one statement that loses nothing to others who add at the same time."""
    assert amounts.keys() <= COUNTERS.keys(), f"{[*amounts]}: not all are in COUNTERS"  # noqa: S101 (a bug)
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
