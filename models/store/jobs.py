"""Jobs as their owners see them: create, find, cancel, pause, resume, retry, delete."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Integer, cast, delete, func, insert, literal, select, update
from sqlalchemy.orm import Session, joinedload

from models.cost import estimate_cost
from models.errors import Conflict, NotFound
from models.experiments import ExperimentSpec
from models.identifiers import create_id
from models.logs import get_request_id
from models.run_key import Purpose, RunKey
from models.spec import STORED, JobSpec
from models.spec_format import get_format
from models.states import UNFINISHED, Action, JobState
from models.store import counters
from models.store.database import UNFILTERED
from models.store.quotas import check_quotas
from models.store.sql_functions import make_table
from models.store.tables import (
    LOCAL_OWNER,
    Epoch,
    Event,
    Experiment,
    Job,
    JobLabel,
    JobTechnique,
    Result,
    Run,
)
from models.store.transitions import get_database_now, get_job, record_event, transition
from models.tracing import get_traceparent


@dataclass(frozen=True)
class NewJob:
    """A specification to store, whose it is, its place in an experiment, and the job that it repeats."""

    spec: JobSpec
    owner: str = LOCAL_OWNER
    experiment_id: str | None = None
    key: RunKey | None = None
    retry_of: str | None = None


def create_jobs(session: Session, new_jobs: Sequence[NewJob]) -> list[Job]:
    """Store jobs as queued, each with its first event.

    Raises:
        QuotaExceeded: they are more than their owner may have; see models/store/quotas.py.
    """
    now, traceparent = get_database_now(session), get_traceparent()
    pauses = _find_pauses(session, new_jobs)
    jobs = [
        Job(
            id=create_id("job"),
            owner=new.owner,
            name=new.spec.name,
            spec=new.spec.model_dump(mode="json"),
            spec_hash=new.spec.spec_hash,
            spec_format=get_format(new.spec),
            labels=new.spec.labels,
            dataset=new.spec.dataset.name,
            experiment_id=new.experiment_id,
            **({"variant": None, "seed": new.spec.seed} if new.key is None else asdict(new.key))
            | {"purpose": Purpose.JUDGE if new.spec.evaluation.test else Purpose.TUNE},
            retry_of=new.retry_of,
            pause_after=pauses.get(index),
            state=JobState.QUEUED,
            priority=new.spec.priority,
            epochs=new.spec.training.planned_epochs,
            estimated_flops=estimate_cost(new.spec).total_flops,
            # A microsecond apart, so that jobs of one transaction keep the order in which they were given.
            created_at=now + timedelta(microseconds=index),
            request_id=get_request_id(),
            traceparent=traceparent,
            result=None,
        )
        for index, new in enumerate(new_jobs)
    ]
    check_quotas(session, jobs, now)
    session.add_all(jobs)
    session.flush()
    session.add_all(
        Event(job_id=job.id, at=now, type="queued", to_state=JobState.QUEUED, attempt=0, detail={})
        for job in jobs
    )
    # Jobs are searched by what lies within their JSON.
    session.add_all(
        JobTechnique(job_id=job.id, technique=name, created_at=job.created_at)
        for job, new in zip(jobs, new_jobs, strict=True)
        for name in new.spec.regularization.active
    )
    add_labels(session, jobs)
    return jobs


def _find_pauses(session: Session, new_jobs: Sequence[NewJob]) -> dict[int, int | None]:
    """By their index the epoch after which new jobs of successive halving wait for the other trials."""
    tuning = {
        index: (new.experiment_id, new.key, new.spec.training.planned_epochs)
        for index, new in enumerate(new_jobs)
        if new.experiment_id and new.key and new.key.purpose == Purpose.TUNE
    }
    specs = {
        experiment_id: ExperimentSpec.model_validate(
            session.get_one(Experiment, experiment_id).document, context=STORED
        )
        for experiment_id, *_ in tuning.values()
    }
    return {
        index: specs[experiment_id].find_pause(key, epochs)
        for index, (experiment_id, key, epochs) in tuning.items()
    }


def add_labels(session: Session, jobs: Sequence[Job]) -> None:
    """Store the jobs' labels where lists find them."""
    session.add_all(
        JobLabel(job_id=job.id, name=name, value=value, created_at=job.created_at)
        for job in jobs
        for name, value in job.labels.items()
    )


def get_jobs(session: Session, job_ids: Sequence[str]) -> list[Job]:
    """These jobs with their results, in the order given and each once, in one query.

    Raises:
        NotFound: one of them is not there.
    """
    jobs = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(job_ids)))}
    unknown = [job_id for job_id in job_ids if job_id not in jobs]
    if unknown:
        raise NotFound(f"There is no job {', '.join(unknown)}.")
    return [jobs[job_id] for job_id in dict.fromkeys(job_ids)]


def get_job_details(session: Session, job_id: str) -> Job:
    """The job as it stands now, with all of its result that is shown, in one query.

    Raises:
        NotFound: there is none of that id.
    """
    return get_job(session, job_id, options=[joinedload(Job.result).undefer_group("details")])


def get_result(job: Job) -> Result:
    """What a job has measured and kept.

    Raises:
        NotFound: it has not succeeded.
    """
    if job.result is None:
        raise NotFound(f"Job {job.id} is {job.state} and has no model; only a succeeded job has one.")
    return job.result


def count_by_state(session: Session) -> dict[JobState, int]:
    """How many jobs of all owners are in each state; 0 where there are none."""
    query = select(Job.state, func.count()).group_by(Job.state).execution_options(**UNFILTERED)
    counts = {JobState(state): count for state, count in session.execute(query)}
    return dict.fromkeys(JobState, 0) | counts


def get_epochs(session: Session, job_id: str, *, after: int = 0) -> list[Epoch]:
    """A job's history from the epoch after `after` on."""
    query = select(Epoch).where(Epoch.job_id == job_id, Epoch.epoch > after).order_by(Epoch.epoch)
    return list(session.scalars(query))


def load_loss_curves(
    session: Session, epochs_done: Mapping[str, int], *, points: int
) -> dict[str, list[tuple[int, float, bool]]]:
    """Each job's losses, in one query: epoch, loss (nats), and whether it is the validation loss.

    Where no examples are held out it is the training loss. Of more epochs than `points` every
    second one is left out, or two of three, and so on.
    """
    steps = make_table({job_id: str(-(-done // points) or 1) for job_id, done in epochs_done.items()})
    is_drawn = (steps.c.key == Epoch.job_id) & (Epoch.epoch % cast(steps.c.value, Integer) == 0)
    query = (
        select(Epoch.job_id, Epoch.epoch, Epoch.train_loss, Epoch.validation_loss)
        .join(steps, is_drawn)
        .order_by(Epoch.job_id, Epoch.epoch)
    )
    curves: dict[str, list[tuple[int, float, bool]]] = {}
    for job_id, epoch, train, validation in session.execute(query):
        point = (epoch, train, False) if validation is None else (epoch, validation, True)
        curves.setdefault(job_id, []).append(point)
    return curves


def get_events(session: Session, job_id: str) -> list[Event]:
    """All that has happened to a job, first to last."""
    return list(session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.id)))


def cancel_job(session: Session, job_id: str) -> Job:
    """End a job: at once if it is not running, else within a chunk of steps. No later request undoes this.

    Raises:
        NotFound: there is no such job.
        Conflict: it has ended already.
    """
    job = lock_job(session, job_id)
    match job.state:
        case JobState.QUEUED | JobState.PAUSED:
            return _set_state(session, job, JobState.CANCELLED)
        case JobState.RUNNING:
            return _request_action(session, job, Action.CANCEL)
    raise Conflict(f"Job {job_id} is already {job.state}; only a job that has not ended can be cancelled.")


def pause_job(session: Session, job_id: str) -> Job:
    """Pause a job: at once if it is queued, within a chunk of steps if it runs. Idempotent.

    Raises:
        NotFound: there is no such job.
        Conflict: it has ended, or is asked to.
    """
    job = _get_unfinished(session, job_id, "paused")
    match job.state:
        case JobState.QUEUED:
            return _set_state(session, job, JobState.PAUSED)
        case JobState.RUNNING:
            return _request_action(session, job, Action.PAUSE)
        case JobState.PAUSED if job.waits_for_others:
            return _request_action(session, job, Action.PAUSE)
    return job


def resume_job(session: Session, job_id: str) -> Job:
    """Resume a paused job at its old position in the queue; one that is not paused is left as it is.

    A requested pause that its worker has not executed yet is withdrawn. One that waits for the other trials
    of successive halving goes on waiting for them only.

    Raises:
        NotFound: there is no such job.
        Conflict: it has ended, or is asked to.
    """
    job = _get_unfinished(session, job_id, "resumed")
    if job.state == JobState.PAUSED and not job.waits_for_others:
        # Its message may have been consumed while it was paused.
        return _set_state(session, job, JobState.QUEUED, {"dispatched_at": None})
    if job.requested_action == Action.PAUSE:
        job.requested_action = None
        job.version += 1
        record_event(session, job_id, "pause_withdrawn", attempt=job.attempt)
    return job


def retry_job(session: Session, job_id: str) -> tuple[Job, bool]:
    """Another job with the specification of one that did not succeed, in its place in experiments.

    Returns the new job and True; or, where the job is being retried already, that retry and False.

    Raises:
        NotFound: there is no such job.
        Conflict: it has succeeded or not ended, or its retry has ended.
    """
    job = lock_job(session, job_id)
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise Conflict(f"Job {job_id} is {job.state}; only a failed or cancelled job can be retried.")
    retry = session.scalar(select(Job).where(Job.retry_of == job_id))
    if retry is None:
        spec = JobSpec.model_validate(job.spec, context=STORED)
        key = RunKey.from_row(job) if job.variant else None
        new = NewJob(spec, job.owner, job.experiment_id, key, retry_of=job_id)
        if job.state == JobState.FAILED:
            _mark_changed_plans(session, job_id)
        (retry,) = create_jobs(session, [new])
        if job.checkpoint_path:
            _hand_on_checkpoint(session, job, retry)
        session.execute(update(Run).where(Run.job_id == job_id).values(job_id=retry.id))
        experiment_ids = select(Run.experiment_id).where(Run.job_id == retry.id)
        session.execute(update(Experiment).where(Experiment.id.in_(experiment_ids)).values(announced=False))
        if job.experiment_id and key:
            place = {"experiment_id": job.experiment_id} | asdict(key)
            # Its place in its own experiment is empty where an earlier retry was deleted.
            if session.get(Run, place) is None:
                session.add(Run(**place, job_id=retry.id, reused=False))
        session.flush()
        counters.add(session, retries=1)
        return retry, True
    if JobState(retry.state).terminal:
        advice = "it has the result" if retry.state == JobState.SUCCEEDED else "retry that one"
        raise Conflict(f"Job {job_id} was retried as job {retry.id}, which has {retry.state}; {advice}.")
    return retry, False


def _hand_on_checkpoint(session: Session, job: Job, retry: Job) -> None:
    """Let `retry` resume where `job` failed. A worker that cannot use the checkpoint starts at epoch 0."""
    for name in ("checkpoint_epoch", "checkpoint_path", "checkpoint_sha256"):
        setattr(retry, name, getattr(job, name))
        setattr(job, name, None)
    retry.epochs_done = retry.checkpoint_epoch or 0
    retry.fraction = retry.epochs_done / retry.epochs
    columns = [column.name for column in Epoch.__table__.columns if column.name not in ("job_id", "attempt")]
    history = select(literal(retry.id), literal(0), *(Epoch.__table__.c[name] for name in columns)).where(
        Epoch.job_id == job.id, Epoch.epoch <= retry.epochs_done
    )
    session.execute(insert(Epoch).from_select(["job_id", "attempt", *columns], history))


def _mark_changed_plans(session: Session, job_id: str) -> None:
    """Mark the experiments whose plan was complete with this failed job, and has been judged without it."""
    experiment_ids = select(Run.experiment_id).where(Run.job_id == job_id)
    unfinished = select(Run.experiment_id).join(Job, Job.id == Run.job_id).where(Job.state.in_(UNFINISHED))
    results = select(Run.experiment_id).join(Result, Result.job_id == Run.job_id)
    session.execute(
        update(Experiment)
        .where(
            Experiment.id.in_(experiment_ids),
            Experiment.id.not_in(unfinished),
            Experiment.id.in_(results.where(Run.experiment_id.in_(experiment_ids))),
        )
        .values(extended=True)
    )


def lock_job(session: Session, job_id: str) -> Job:
    """The job, locked, so that no worker claims, releases or ends it before the change."""
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    return get_job(session, job_id)


def _get_unfinished(session: Session, job_id: str, become: str) -> Job:
    """The job, locked, if it has not ended and is not about to."""
    job = lock_job(session, job_id)
    if JobState(job.state).terminal:
        raise Conflict(f"Job {job_id} is already {job.state}; only a job that has not ended can be {become}.")
    if job.requested_action == Action.CANCEL:
        raise Conflict(f"Job {job_id} is being cancelled and can no longer be {become}.")
    return job


def _set_state(session: Session, job: Job, after: JobState, values: dict[str, Any] | None = None) -> Job:
    changed = transition(session, job.id, before=JobState(job.state), after=after, values=values)
    assert changed is not None  # noqa: S101 (the row is locked)
    return changed


def _request_action(session: Session, job: Job, action: Action) -> Job:
    """Request an action of the job's worker, once; it reads requests at least once a chunk."""
    if job.requested_action != action:
        job.requested_action = action
        job.version += 1
        record_event(session, job.id, f"{action}_requested", attempt=job.attempt)
    return job


def delete_job(session: Session, job_id: str) -> Job:
    """Remove an ended job with its history, and return it as it was; its artifacts stay.

    Raises:
        NotFound: there is no such job.
        Conflict: it has not ended, or another experiment than its own links it.
    """
    # Locked, so that no experiment links it before the commit.
    job = lock_job(session, job_id)
    if not JobState(job.state).terminal:
        raise Conflict(f"Job {job_id} is {job.state}; cancel it before deleting it.")
    links = select(Run.experiment_id).where(
        Run.job_id == job_id, Run.experiment_id.is_distinct_from(job.experiment_id)
    )
    if other := session.scalar(links.limit(1)):
        raise Conflict(f"Experiment {other} uses job {job_id} too; delete that experiment first.")
    session.execute(delete(Job).where(Job.id == job_id))
    return job
