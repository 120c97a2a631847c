"""Recovery of jobs whose worker died or whose dispatch message was lost.

Any number of workers may do this concurrently: every change is conditional.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from models.states import STATE_AFTER, Action, JobState
from models.store import counters
from models.store.queue import select_claimable
from models.store.sql_functions import DatabaseNow
from models.store.tables import Job
from models.store.transitions import transition

_FIRST_BACKOFF_SECONDS = 2.0
_DOUBLINGS = 4
_CLOCK_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True)
class Rescued:
    """The ids of jobs whose lease had expired, by outcome."""

    queued: list[str]
    """Waiting for another worker; or paused, where their owner had asked for that."""
    ended: list[str]
    resumable: list[str] = field(default_factory=list)
    """Failed, with a checkpoint that a retry resumes from."""


def get_lease_owners(session: Session, worker: str) -> list[str]:
    """The lease owners among a worker's training processes."""
    own = Job.lease_owner.startswith(f"{worker}/", autoescape=True)
    query = select(Job.lease_owner).where(Job.state == JobState.RUNNING, own)
    return [owner for owner in session.scalars(query) if owner]


def rescue_abandoned(session: Session, dead: Collection[str] = ()) -> Rescued:
    """Take every job whose lease has expired from its worker: back into the queue, or to its end.

    The leases of `dead` owners count as expired.
    """
    # Locked against a worker that returns, a cancel by the owner, and other rescuers.
    abandoned = (
        select(Job)
        .where(
            Job.state == JobState.RUNNING,
            or_(
                Job.lease_expires_at < DatabaseNow(),
                # The database's clock was set back: the lease would last that much longer.
                Job.heartbeat_at > DatabaseNow(_CLOCK_TOLERANCE_SECONDS),
                Job.lease_owner.in_(dead),
            ),
        )
        .with_for_update(of=Job, skip_locked=True)
    )
    rescued, counts = Rescued([], []), Counter[str]()
    for job in session.scalars(abandoned).all():
        after, values = JobState.QUEUED, dict[str, Any]()
        if job.requested_action:
            # Its worker was asked to stop and could not do so in time: not a crash.
            after = STATE_AFTER[Action(job.requested_action)]
        elif job.crashes + 1 >= job.max_crashes:
            after = JobState.FAILED
            counts["failures:worker_crashed"] += 1
            values = {
                "crashes": job.crashes + 1,
                "error_code": "worker_crashed",
                "error_message": f"The worker process died {job.crashes + 1} times; its "
                "log may contain the reason.",
                "error_retryable": True,
            }
        else:
            backoff = _FIRST_BACKOFF_SECONDS * 2 ** min(job.crashes, _DOUBLINGS)
            values = {"crashes": job.crashes + 1, "run_after": DatabaseNow(backoff)}
        reason = "process_died" if job.lease_owner in dead else "lease_expired"
        detail = {"reason": reason, "worker": job.lease_owner}
        ended = transition(
            session, job.id, before=JobState.RUNNING, after=after, values=values, detail=detail
        )
        counts["process_deaths" if reason == "process_died" else "lease_expiries"] += 1
        if not after.terminal:
            rescued.queued.append(job.id)
        elif ended and ended.checkpoint_path:
            rescued.resumable.append(job.id)
        else:
            rescued.ended.append(job.id)
    if counts:
        counters.add(session, **counts)  # last, because all workers update these rows
    return rescued


def find_undispatched_jobs(session: Session, *, older_than_seconds: float, limit: int) -> list[str]:
    """Up to `limit` claimable jobs whose last dispatch message is too old, next ones first."""
    undispatched = or_(
        Job.dispatched_at.is_(None),
        Job.dispatched_at < DatabaseNow(-older_than_seconds),
        Job.dispatched_at > DatabaseNow(),  # the database's clock was set back
    )
    return list(session.scalars(select_claimable().where(undispatched).limit(limit)))
