"""Experiments: create one with all its jobs, find them, and say how far they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from models.errors import NotFound
from models.experiments import ExperimentSpec
from models.identifiers import new_id
from models.states import JobState
from models.store.jobs import NewJob, Place, create_jobs
from models.store.transitions import database_now
from models.tables import LOCAL_OWNER, Experiment, Job, Result


@dataclass(frozen=True)
class Standing:
    """How far an experiment is, over all its jobs."""

    counts: dict[JobState, int]
    fraction: float
    """Of all steps of all jobs; an ended job counts as done."""
    remaining_seconds: float | None
    """Seconds of training that are left, as if one worker did it; None until a job has shown its pace."""
    best_variant: str | None
    best_job: str | None
    best_test_accuracy: float | None

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.counts.values())

    @property
    def finished(self) -> bool:
        """Whether every job has ended."""
        return all(state.terminal for state, count in self.counts.items() if count)


def create_experiment(
    session: Session, spec: ExperimentSpec, *, preset: str | None
) -> tuple[Experiment, list[Job]]:
    """Store an experiment and all its jobs; with the caller's commit, all of them or none."""
    experiment = Experiment(
        id=new_id("exp"),
        owner=LOCAL_OWNER,
        name=spec.name,
        preset=preset,
        document=spec.resolved().model_dump(mode="json"),
        created_at=database_now(session),
    )
    session.add(experiment)
    session.flush()
    jobs = create_jobs(session, [NewJob(run, experiment.id, variant) for variant, run in spec.runs()])
    return experiment, jobs


def get_experiment(session: Session, experiment_id: str) -> Experiment:
    """The experiment.

    Raises:
        NotFound: there is none of that id.
    """
    experiment = session.get(Experiment, experiment_id)
    if experiment is None:
        raise NotFound(f"There is no experiment {experiment_id}.")
    return experiment


def find_experiments(session: Session, *, after: Place | None, limit: int) -> list[Experiment]:
    """Up to `limit` experiments, newest first, from `after` on."""
    query = select(Experiment).order_by(Experiment.created_at.desc(), Experiment.id.desc())
    if after is not None:
        query = query.where(tuple_(Experiment.created_at, Experiment.id) < tuple_(after.created_at, after.id))
    return list(session.scalars(query.limit(limit)))


def jobs_of(session: Session, experiment_id: str) -> list[Job]:
    """An experiment's jobs with their results, in one query, in the order of their creation.

    One that was retried is left out: its retry stands in its place.
    """
    query = select(Job).where(Job.experiment_id == experiment_id, _not_retried())
    return list(session.scalars(query.order_by(Job.created_at, Job.id)))


def _not_retried() -> ColumnElement[bool]:
    """Whether a job is one to count: the newest of its line of retries."""
    retry = aliased(Job)
    return ~exists().where(retry.retry_of == Job.id)


def standings(session: Session, experiment_ids: Sequence[str]) -> dict[str, Standing]:
    """How far each experiment is, in a number of queries that does not grow with jobs or experiments."""
    counts: dict[str, dict[JobState, int]] = {each: {} for each in experiment_ids}
    done: dict[str, float] = dict.fromkeys(experiment_ids, 0.0)
    left = {each: _Left() for each in experiment_ids}
    query = (
        select(
            Job.experiment_id,
            Job.state,
            func.count(),
            func.sum(Job.fraction),
            func.sum(Job.eta_seconds),
            func.count(Job.eta_seconds),
        )
        .where(Job.experiment_id.in_(experiment_ids), _not_retried())
        .group_by(Job.experiment_id, Job.state)
    )
    for experiment_id, state, count, fraction, eta, with_eta in session.execute(query):
        assert experiment_id is not None  # noqa: S101 (the WHERE says so; for the type checker)
        counts[experiment_id][JobState(state)] = count
        if JobState(state).terminal:
            done[experiment_id] += count
        else:
            done[experiment_id] += fraction
            left[experiment_id].seconds += eta or 0.0
            left[experiment_id].jobs_of_unknown_length += count - with_eta
    best = _best(session, experiment_ids)
    pace = _seconds_a_job(session, experiment_ids)
    found = {}
    for each in experiment_ids:
        total = sum(counts[each].values())
        variant, job_id, accuracy = best.get(each, (None, None, None))
        found[each] = Standing(
            counts=counts[each],
            fraction=done[each] / total if total else 0.0,
            remaining_seconds=left[each].total(pace.get(each)),
            best_variant=variant,
            best_job=job_id,
            best_test_accuracy=accuracy,
        )
    return found


@dataclass
class _Left:
    """What an experiment has still to train."""

    seconds: float = 0.0
    jobs_of_unknown_length: int = 0

    def total(self, seconds_a_job: float | None) -> float | None:
        if not self.jobs_of_unknown_length:
            return self.seconds
        if seconds_a_job is None:
            return None
        return self.seconds + self.jobs_of_unknown_length * seconds_a_job


def _best(session: Session, experiment_ids: Sequence[str]) -> dict[str, tuple[str | None, str, float]]:
    rank = (
        func.row_number()
        .over(
            partition_by=Job.experiment_id, order_by=(Result.test_accuracy.desc(), Result.test_loss, Job.id)
        )
        .label("rank")
    )
    ranked = (
        select(Job.experiment_id, Job.variant, Job.id, Result.test_accuracy, rank)
        .join(Result, Result.job_id == Job.id)
        .where(Job.experiment_id.in_(experiment_ids))
        .subquery()
    )
    query = select(ranked.c.experiment_id, ranked.c.variant, ranked.c.id, ranked.c.test_accuracy)
    rows = session.execute(query.where(ranked.c.rank == 1))
    return {experiment: (variant, job_id, accuracy) for experiment, variant, job_id, accuracy in rows}


def _seconds_a_job(session: Session, experiment_ids: Sequence[str]) -> dict[str, float]:
    query = (
        select(Job.experiment_id, func.avg(Result.training_seconds + Result.compile_seconds))
        .join(Result, Result.job_id == Job.id)
        .where(Job.experiment_id.in_(experiment_ids))
        .group_by(Job.experiment_id)
    )
    return {experiment: seconds for experiment, seconds in session.execute(query) if experiment is not None}
