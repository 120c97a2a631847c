"""Jobs that nobody looks after any more: those whose worker is gone, and those whose bell is.

Any number of workers may do this at once, as often as they like: every change is conditional.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from models.database import DatabaseNow
from models.states import Action, JobState
from models.store.transitions import move
from models.tables import Job

_FIRST_BACKOFF_SECONDS = 2.0


@dataclass(frozen=True)
class Rescued:
    """The ids of jobs whose lease had run out, by what became of them."""

    queued: list[str]
    ended: list[str]


def rescue_abandoned(session: Session) -> Rescued:
    """Take every job whose lease has run out from its worker: back into the queue, or to its end."""
    expired = select(Job).where(Job.state == JobState.RUNNING, Job.lease_expires_at < DatabaseNow())
    rescued = Rescued([], [])
    for job in session.scalars(expired).all():
        after, values, detail = _fate(job)
        moved = move(
            session,
            job.id,
            before=JobState.RUNNING,
            after=after,
            # Its worker may have come back, or another rescuer may have been quicker.
            only_if=[Job.attempt == job.attempt, Job.lease_expires_at < DatabaseNow()],
            values=values,
            detail=detail,
        )
        if moved is not None:
            (rescued.ended if after.terminal else rescued.queued).append(job.id)
    return rescued


def _fate(job: Job) -> tuple[JobState, dict[str, Any], dict[str, Any]]:
    """What becomes of an abandoned job: its next state, columns to set, and the event's detail."""
    lost: dict[str, Any] = {"reason": "lease_expired", "worker": job.lease_owner}
    match job.requested_action:
        case Action.CANCEL:
            return JobState.CANCELLED, {}, lost
        case Action.PAUSE:
            return JobState.PAUSED, {}, lost
        case Action.RELEASE:
            # Its worker was told to stop and could not give it back in time: no crash.
            return JobState.QUEUED, {}, lost
    crashes = job.crashes + 1
    if crashes >= job.max_crashes:
        error = {
            "error_code": "worker_crashed",
            "error_message": f"Its worker vanished {crashes} times; the worker's log may say why.",
            "error_retryable": True,
        }
        return JobState.FAILED, {"crashes": crashes, **error}, lost
    backoff = _FIRST_BACKOFF_SECONDS * 2**job.crashes
    return JobState.QUEUED, {"crashes": crashes, "run_after": DatabaseNow(backoff)}, lost


def unheard_jobs(session: Session, *, older_than_seconds: float, limit: int) -> list[str]:
    """Up to `limit` queued jobs that may start and whose bell rang too long ago, the next ones first."""
    query = (
        select(Job.id)
        .where(
            Job.state == JobState.QUEUED,
            Job.run_after <= DatabaseNow(),
            or_(Job.dispatched_at.is_(None), Job.dispatched_at < DatabaseNow(-older_than_seconds)),
        )
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(limit)
    )
    return list(session.scalars(query))
