"""Which workers live: each announces itself at every sweep."""

from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from models.store.service_tables import Worker
from models.store.sql_functions import DatabaseNow

LIVE_SECONDS = 60.0
"""A worker that was seen within this time counts as alive."""
_FORGET_SECONDS = 86_400.0


@dataclass(frozen=True)
class LiveWorkers:
    """The workers that live."""

    workers: int
    processes: int
    """Their training processes."""


def announce_worker(session: Session, name: str, *, processes: int) -> None:
    """Record that a worker lives; forget those that were not seen for a day."""
    session.execute(delete(Worker).where(Worker.seen_at < DatabaseNow(-_FORGET_SECONDS)))
    seen = update(Worker).where(Worker.name == name).values(seen_at=DatabaseNow(), processes=processes)
    if session.execute(seen.returning(Worker.name)).one_or_none() is None:
        now = DatabaseNow()
        session.add(Worker(name=name, processes=processes, started_at=now, seen_at=now))


def forget_worker(session: Session, name: str) -> None:
    """Record that a worker ends."""
    session.execute(delete(Worker).where(Worker.name == name))


def count_live_workers(session: Session) -> LiveWorkers:
    """How many workers live, and how many jobs they train at once."""
    query = select(func.count(), func.coalesce(func.sum(Worker.processes), 0))
    return LiveWorkers(*session.execute(query.where(Worker.seen_at > DatabaseNow(-LIVE_SECONDS))).one())
