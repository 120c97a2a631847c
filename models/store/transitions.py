"""The one way in which a job changes state: a conditional UPDATE and its event, in one transaction."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.interfaces import ORMOption

from models.errors import NotFound
from models.states import JobState, can_follow
from models.store.sql_functions import DatabaseNow
from models.store.tables import Delivery, Epoch, Event, Job, Webhook

_CHECKPOINT_EPOCH = func.coalesce(Job.checkpoint_epoch, 0)
_NO_CHECKPOINT = dict.fromkeys(("checkpoint_epoch", "checkpoint_path", "checkpoint_sha256"))
# A job that waits shows the progress that it will resume from, and no estimate of the time left. Its last
# dispatch message was consumed.
_PUT_BACK: dict[str, Any] = {
    "epochs_done": _CHECKPOINT_EPOCH,
    "fraction": _CHECKPOINT_EPOCH / Job.epochs,
    "eta_seconds": None,
    "dispatched_at": None,
}


def get_database_now(session: Session) -> datetime:
    """The moment by the database's clock."""
    return session.execute(select(DatabaseNow())).scalar_one()


def get_job(session: Session, job_id: str, *, options: Sequence[ORMOption] = ()) -> Job:
    """The job as it stands now, its result with it.

    Raises:
        NotFound: there is none of that id.
    """
    job = session.get(Job, job_id, options=options, populate_existing=True)
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


def transition(
    session: Session,
    job_id: str,
    *,
    before: JobState,
    after: JobState,
    only_if: Collection[ColumnElement[bool]] = (),
    values: dict[str, Any] | None = None,
    detail: dict[str, Any] | None = None,
) -> Job | None:
    """Change a job from one state to another, if it is still in the first and `only_if` holds.

    A job that its worker gives up before the end goes back to its last checkpoint or to the start: so do its
    progress and its history, which the next attempt will train again. One that failed retryably keeps its
    checkpoint for the retry.

    Returns the changed job, or None where the condition no longer holds: another process was first.
    """
    assert can_follow(before, after), f"{before} -> {after} is not in models/states.py"  # noqa: S101 (a bug)
    changes: dict[str, Any] = {"requested_action": None, **(values or {})}
    if after.terminal:
        changes |= {"finished_at": DatabaseNow(), "eta_seconds": None}
        if not changes.get("error_retryable"):
            changes |= _NO_CHECKPOINT
    if before is JobState.RUNNING:
        changes |= {"lease_owner": None, "lease_expires_at": None}
    put_back = before is JobState.RUNNING and not after.terminal
    if put_back:
        changes |= _PUT_BACK
    attempt = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == before, *only_if)
        .values(state=after, version=Job.version + 1, **changes)
        .returning(Job.attempt)
    ).scalar_one_or_none()
    if attempt is None:
        return None
    if put_back:
        delete_epochs_after_checkpoint(session, job_id)
    record_event(session, job_id, after, attempt=attempt, from_state=before, to_state=after, detail=detail)
    job = get_job(session, job_id)
    if after.terminal:
        enqueue_webhook_deliveries(session, job)
    return job


def enqueue_webhook_deliveries(session: Session, job: Job) -> None:
    """Store a delivery for each of the owner's webhooks that asks for this state, in the same transaction."""
    webhooks = session.scalars(select(Webhook).where(Webhook.owner == job.owner)).all()
    subscribed = [webhook for webhook in webhooks if job.state in webhook.states]
    if not subscribed:
        return
    now = get_database_now(session)
    session.add_all(
        Delivery(
            webhook_id=webhook.id,
            job_id=job.id,
            event=f"job.{job.state}",
            next_attempt_at=now,
            created_at=now,
        )
        for webhook in subscribed
    )


def delete_epochs_after_checkpoint(session: Session, job_id: str) -> None:
    """Remove from the history what the next attempt will train again."""
    reached = select(_CHECKPOINT_EPOCH).where(Job.id == job_id).scalar_subquery()
    session.execute(delete(Epoch).where(Epoch.job_id == job_id, Epoch.epoch > reached))


def record_event(
    session: Session,
    job_id: str,
    kind: str,
    *,
    attempt: int,
    from_state: JobState | None = None,
    to_state: JobState | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add a row to the job's history."""
    session.add(
        Event(
            job_id=job_id,
            at=get_database_now(session),
            type=str(kind),
            from_state=from_state,
            to_state=to_state,
            attempt=attempt,
            detail=detail or {},
        )
    )
