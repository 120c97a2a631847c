"""The job queue for workers: claim the next job, renew its lease, record results, release it.

Every write is fenced by its attempt, so that a worker that was presumed dead and resumes changes nothing.
"""

from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, update
from sqlalchemy.orm import Session

from models.errors import LeaseLost
from models.records import CheckpointRecord, EpochRecord, Progress, ResultRecord
from models.spec_format import NEWEST_FORMAT
from models.states import STATE_AFTER, Action, JobState
from models.store import counters
from models.store.database import UNFILTERED
from models.store.quotas import acquire_advisory_lock
from models.store.sql_functions import DatabaseNow
from models.store.tables import Epoch, Job, Result, is_queued, select_queued_owner
from models.store.transitions import delete_epochs_after_checkpoint, transition
from models.store.turns import find_owners_in_turn, record_turn


def can_start() -> ColumnElement[bool]:
    """Whether this release understands a queued job, and its backoff is over.

    Also where the database's clock was set back since the backoff began.
    """
    ahead = Job.heartbeat_at > DatabaseNow()
    is_due = or_(Job.run_after.is_(None), Job.run_after <= DatabaseNow(), ahead)
    return and_(Job.spec_format <= NEWEST_FORMAT, is_due)


def is_at_rung() -> ColumnElement[bool]:
    """Whether a job has a checkpoint at the very epoch after which it pauses."""
    return func.coalesce(Job.pause_after == Job.checkpoint_epoch, false())


def select_claimable(owner: str | None = None) -> Select[str]:
    """The ids of queued jobs that may start now, by priority and age; None: of all owners."""
    queued = is_queued(Job.state) if owner is None else select_queued_owner(Job.state, Job.owner) == owner
    return select(Job.id).where(queued, can_start()).order_by(Job.priority.desc(), Job.created_at, Job.id)


def get_oldest_queued_seconds(session: Session) -> float:
    """The age of the job of any owner that has been queued longest; 0 without any."""
    query = select(func.min(Job.created_at), DatabaseNow()).where(Job.state == JobState.QUEUED)
    oldest, now = session.execute(query.execution_options(**UNFILTERED)).one()
    return (now - oldest).total_seconds() if oldest else 0.0


def claim_next(session: Session, *, owner: str, lease_seconds: float, max_running: int = 0) -> Job | None:
    """Claim the next job for the worker `owner`; None if none may start.

    Owners of jobs take turns; those with `max_running` running jobs are skipped (0: no limit).
    """
    if max_running:
        # Otherwise two workers could each claim an owner's last free slot.
        acquire_advisory_lock(session, "claim")
    for job_owner in find_owners_in_turn(session, max_running=max_running):
        # Skip a job that another worker is claiming.
        query = select_claimable(job_owner).limit(1).with_for_update(skip_locked=True)
        job_id = session.scalar(query)
        if job_id and (job := claim(session, job_id, owner=owner, lease_seconds=lease_seconds)):
            record_turn(session, job_owner)
            return job
    return None


def claim(session: Session, job_id: str, *, owner: str, lease_seconds: float) -> Job | None:
    """Claim this queued job for `owner`; None if it is not claimable."""
    return transition(
        session,
        job_id,
        before=JobState.QUEUED,
        after=JobState.RUNNING,
        only_if=[can_start()],
        values={
            "run_after": None,
            "attempt": Job.attempt + 1,
            "lease_owner": owner,
            "lease_expires_at": DatabaseNow(lease_seconds),
            "heartbeat_at": DatabaseNow(),
            "started_at": func.coalesce(Job.started_at, DatabaseNow()),
        },
    )


def renew(
    session: Session, job_id: str, attempt: int, *, lease_seconds: float, progress: Progress | None = None
) -> Action | None:
    """Renew the lease and record progress, if there is any; returns the action that the owner requests.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    values = {"version": Job.version + 1, **asdict(progress)} if progress else {}
    lease = {"lease_expires_at": DatabaseNow(lease_seconds), "heartbeat_at": DatabaseNow()}
    return _update_fenced(session, job_id, attempt, **lease, **values)


def _update_fenced(session: Session, job_id: str, attempt: int, **values: Any) -> Action | None:
    """Change the job's row if it is still this attempt's; returns the action that its owner requests."""
    query = update(Job).where(*_fence(job_id, attempt)).values(values).returning(Job.requested_action)
    row = session.execute(query).one_or_none()
    if row is None:
        raise _build_lease_lost(job_id, attempt)
    return Action(row.requested_action) if row.requested_action else None


def record_epoch(session: Session, job_id: str, attempt: int, record: EpochRecord) -> None:
    """Add one epoch to the history; one that is there already is replaced.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    # Locked until the commit, so that no other attempt can begin.
    if session.scalar(select(Job.id).where(*_fence(job_id, attempt)).with_for_update()) is None:
        raise _build_lease_lost(job_id, attempt)
    session.merge(Epoch(job_id=job_id, attempt=attempt, **asdict(record)))


def record_checkpoint(session: Session, job_id: str, attempt: int, checkpoint: CheckpointRecord) -> None:
    """Record the checkpoint that the job can resume from.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    values = {f"checkpoint_{name}": value for name, value in asdict(checkpoint).items()}
    _update_fenced(session, job_id, attempt, **values)


def rewind_to_checkpoint(session: Session, job_id: str, attempt: int, epoch: int) -> None:
    """Rewind a job to `epoch`, because no later checkpoint can be used; 0 is the start.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    values = {"checkpoint_epoch": epoch or None, "checkpoint_path": None, "checkpoint_sha256": None}
    _update_fenced(session, job_id, attempt, **values)
    delete_epochs_after_checkpoint(session, job_id)


def succeed(session: Session, job_id: str, attempt: int, result: ResultRecord) -> JobState:
    """End a job with its result; or without, if its owner has requested to cancel it.

    Returns its new state.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    values = {"epochs_done": result.epochs_run, "fraction": 1.0}
    detail = {"stop_reason": result.stop_reason}
    state = _end(session, job_id, attempt, JobState.SUCCEEDED, values, detail)
    if state is JobState.SUCCEEDED:
        session.add(Result(job_id=job_id, **asdict(result)))
        session.flush()
        # Last, because all workers update the counters' rows, which stay locked until the commit.
        counters.add(
            session,
            compilations=result.compilations,
            compile_seconds=result.compile_seconds,
            trainings=1,
            epochs=result.epochs_run,
            training_seconds=result.training_seconds,
        )
    return state


def fail(
    session: Session, job_id: str, attempt: int, *, code: str, message: str, retryable: bool
) -> JobState:
    """End a job without a result; as cancelled, if its owner has requested that.

    Returns its new state.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    error = {"error_code": code, "error_message": message, "error_retryable": retryable}
    state = _end(session, job_id, attempt, JobState.FAILED, error, {"code": code, "message": message})
    if state is JobState.FAILED:
        counters.add(session, **{f"failures:{code}": 1})
    return state


def stop(session: Session, job_id: str, attempt: int) -> JobState:
    """Do what was requested of a running job, else put it back into the queue; returns its new state.

    Raises:
        LeaseLost: the job is no longer this attempt's.
    """
    return _end(session, job_id, attempt, None, {}, {})


def release_all(session: Session, worker: str) -> int:
    """Request that the jobs of `worker`'s processes go back into the queue; returns their number."""
    job_ids = session.scalars(
        update(Job)
        .where(
            Job.state == JobState.RUNNING,
            Job.lease_owner.startswith(f"{worker}/", autoescape=True),
            # A request of the job's owner takes precedence.
            Job.requested_action.is_(None),
        )
        .values(requested_action=Action.RELEASE, version=Job.version + 1)
        .returning(Job.id)
    )
    return len(job_ids.all())


def mark_dispatched(session: Session, job_ids: list[str]) -> None:
    """Record that messages were sent for these jobs."""
    session.execute(update(Job).where(Job.id.in_(job_ids)).values(dispatched_at=DatabaseNow()))


def _fence(job_id: str, attempt: int) -> list[ColumnElement[bool]]:
    return [Job.id == job_id, Job.state == JobState.RUNNING, Job.attempt == attempt]


def _build_lease_lost(job_id: str, attempt: int) -> LeaseLost:
    return LeaseLost(f"Job {job_id}, attempt {attempt}, is held by another worker or has ended.")


def _end(
    session: Session,
    job_id: str,
    attempt: int,
    after: JobState | None,
    values: dict[str, Any],
    detail: dict[str, Any],
) -> JobState:
    """End the attempt in the state `after`; where a cancel is requested or `after` is None, as requested."""
    # Read here and not passed by the worker: since the worker's last heartbeat the owner may have requested
    # another action. The row stays locked, so that none follows before the commit.
    query = select(Job.requested_action, is_at_rung()).where(*_fence(job_id, attempt)).with_for_update()
    requested, at_rung = session.execute(query).one_or_none() or (None, False)
    if after is None or requested == Action.CANCEL:
        after, values, detail = STATE_AFTER[Action(requested or Action.RELEASE)], {}, {}
        if at_rung and requested != Action.CANCEL:
            # Its experiment resumes it when the others have come as far, unless its owner has paused it, too.
            values = {"requested_action": requested if requested == Action.PAUSE else None}
            after, detail = JobState.PAUSED, {"reason": "waits_for_other_trials"}
    ended = transition(
        session,
        job_id,
        before=JobState.RUNNING,
        after=after,
        only_if=[Job.attempt == attempt],
        values=values,
        detail=detail,
    )
    if ended is None:
        raise _build_lease_lost(job_id, attempt)
    return after
