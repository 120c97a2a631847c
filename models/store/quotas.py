"""What one owner may have waiting, and ask for in a day; checked in the transaction that stores the jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.errors import QuotaExceeded
from models.formatting import format_count
from models.states import JobState
from models.store.tables import Job

_DAY = timedelta(hours=24)
_QUEUE_RETRY_SECONDS = 30


@dataclass(frozen=True)
class Quotas:
    """Limits of one owner; 0: none."""

    queued_jobs: int
    flops_per_day: float


def check_quotas(session: Session, jobs: Sequence[Job], now: datetime) -> None:
    """Refuse new jobs that would lead their owner beyond the session's quotas, if it has any.

    Raises:
        QuotaExceeded: it says how much is left.
    """
    quotas: Quotas | None = session.info.get("quotas")
    if quotas is None or not (quotas.queued_jobs or quotas.flops_per_day):
        return
    owner_of = attrgetter("owner")
    for owner, of_owner in groupby(sorted(jobs, key=owner_of), key=owner_of):
        # Otherwise two concurrent requests could both use what is left.
        acquire_advisory_lock(session, f"quota {owner}")
        new = list(of_owner)
        if quotas.queued_jobs:
            queued = session.scalar(
                select(func.count()).select_from(Job).where(Job.owner == owner, Job.state == JobState.QUEUED)
            )
            left = max(0, quotas.queued_jobs - (queued or 0))
            if len(new) > left:
                raise QuotaExceeded(
                    f"This would queue {format_count(len(new), 'job')}; {left:,} are left within the limit.",
                    retry_after=_QUEUE_RETRY_SECONDS,
                )
        if quotas.flops_per_day:
            flops = sum(job.estimated_flops for job in new)
            spent, oldest = session.execute(
                select(func.sum(Job.estimated_flops), func.min(Job.created_at)).where(
                    Job.owner == owner, Job.created_at > now - _DAY
                )
            ).one()
            flops_left = max(0.0, quotas.flops_per_day - (spent or 0.0))
            if flops > flops_left:
                until_oldest_expires = oldest + _DAY - now if oldest else _DAY
                raise QuotaExceeded(
                    f"This would take {flops:.3g} floating-point operations; of {quotas.flops_per_day:.3g} "
                    f"allowed within 24 hours, {flops_left:.3g} are left.",
                    retry_after=max(1, round(until_oldest_expires.total_seconds())),
                )


def acquire_advisory_lock(session: Session, what: str) -> None:
    """Nobody else passes here for the same `what` before the commit."""
    # SQLite has one writer anyway.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(what, 0))))


def try_advisory_lock(session: Session, what: str) -> bool:
    """Take that lock, unless another session has it; returns whether it was taken."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(what, 0)))))
