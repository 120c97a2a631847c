"""Experiments: create one with all its jobs, find them, and say how far they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from cachetools import LRUCache
from sqlalchemy import Integer, bindparam, cast, delete, func, select, update
from sqlalchemy.orm import Session

from models.errors import Conflict, NotFound
from models.experiments import ExperimentSpec
from models.identifiers import create_id
from models.run_key import Purpose, RunKey, count_later_runs
from models.selection import VariantMeans, choose_variant
from models.states import JobState
from models.stopping_rules import get_closed, get_common_seeds
from models.store.experiment_runs import add_runs, find_missing_runs, has_results
from models.store.remaining_time import Waiting, estimate_remaining
from models.store.tables import LOCAL_OWNER, Experiment, Job, Result, Run
from models.store.transitions import get_database_now


@dataclass(frozen=True)
class ExperimentProgress:
    """How far an experiment is, over all its jobs."""

    counts: dict[JobState, int]
    reused: int
    """How many of the jobs had succeeded before the experiment asked for them."""
    fraction: float
    """Of all steps of all jobs; an ended job counts as done."""
    remaining_seconds: float | None
    """Seconds until its last job ends (models/store/remaining_time.py); None until that can be estimated."""
    means: tuple[VariantMeans, ...]
    """Of each variant that has a result."""

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.counts.values())

    @property
    def finished(self) -> bool:
        """Whether every job has ended."""
        return all(state.terminal for state, count in self.counts.items() if count)

    @property
    def unsuccessful(self) -> int:
        """How many jobs have failed or were cancelled."""
        return self.counts.get(JobState.FAILED, 0) + self.counts.get(JobState.CANCELLED, 0)


def create_experiment(
    session: Session, spec: ExperimentSpec, *, preset: str | None, owner: str = LOCAL_OWNER
) -> tuple[Experiment, list[Job]]:
    """Store an experiment and its jobs; with the caller's commit, all of them or none.

    Returns it and the new jobs; a run that has succeeded before is linked, unless `spec.reuse` is off.
    """
    spec = _plan_trials(spec)
    experiment = Experiment(
        id=create_id("exp"),
        owner=owner,
        name=spec.name,
        preset=preset,
        document=spec.resolve_seeds().model_dump(mode="json"),
        auto_extending=spec.grows,
        confirms=spec.confirms,
        created_at=get_database_now(session),
    )
    session.add(experiment)
    session.flush()
    return experiment, add_runs(session, experiment, spec.build_runs(), reuse=spec.reuse)


def extend_experiment(
    session: Session, experiment: Experiment, after: ExperimentSpec, *, planned: bool = False
) -> list[Job]:
    """Store the runs of `after` that have no job, added or deleted ones; returns the new jobs.

    The experiment must be locked. Unless they were `planned`, seeds and variants that are added when there
    are results change the plan.

    Raises:
        Conflict: every run has a job.
    """
    after = _plan_trials(after)
    new = find_missing_runs(session, experiment.id, after)
    if not new:
        raise Conflict(f"Experiment {experiment.id} already has all these seeds and variants.")
    before, document = experiment.document, after.resolve_seeds().model_dump(mode="json")
    grown = any(len(document[field]) > len(before[field]) for field in ("seeds", "variants"))
    if grown and not planned and has_results(session, experiment.id):
        experiment.extended = True
    experiment.document = document
    experiment.auto_extending = after.grows
    return add_runs(session, experiment, new, reuse=after.reuse)


def _plan_trials(spec: ExperimentSpec) -> ExperimentSpec:
    """The experiment with the settings that each variant tries first."""
    if spec.is_tuned:
        return spec
    from models.tuning_methods import start_tuning  # noqa: PLC0415 (numpy and scipy, only where needed)

    return start_tuning(spec)


def delete_experiment(session: Session, experiment: Experiment, *, keep_jobs: bool) -> list[str]:
    """Remove a locked experiment and the jobs that it created; returns their ids. Their artifacts stay.

    A job that another experiment links becomes one of that experiment's own. With `keep_jobs` the others
    stay too, and belong to no experiment.

    Raises:
        Conflict: a job has not ended.
    """
    # Locked, so that no other experiment links one of them before the commit.
    jobs = session.scalars(
        select(Job).where(Job.experiment_id == experiment.id).with_for_update(of=Job)
    ).all()
    if not all(JobState(job.state).terminal for job in jobs):
        raise Conflict(f"A job of experiment {experiment.id} has not ended; cancel it before deleting it.")
    links = (
        select(Run)
        .join(Job, Job.id == Run.job_id)
        .where(Job.experiment_id == experiment.id, Run.experiment_id != experiment.id)
        .order_by(Run.experiment_id, Run.variant)
    )
    links_by_job = {run.job_id: run for run in session.scalars(links)}
    deleted = []
    for job in jobs:
        link = links_by_job.get(job.id)
        if link is None and not keep_jobs:
            deleted.append(job.id)
            continue
        job.experiment_id = None if link is None else link.experiment_id
        if link is not None:
            key = RunKey.from_row(link)
            job.variant, job.point, job.part, job.purpose = key.variant, key.point, key.part, key.purpose
            job.name = key.name
        job.version += 1
    session.flush()
    session.execute(update(Experiment).where(Experiment.confirms == experiment.id).values(confirms=None))
    for table, ids in ((Job, deleted), (Experiment, [experiment.id])):
        session.execute(delete(table).where(table.id.in_(ids)))
    return deleted


def lock_experiment(session: Session, experiment_id: str) -> Experiment:
    """The experiment, locked against other extensions until the commit.

    Raises:
        NotFound: there is none of that id.
    """
    session.execute(select(Experiment.id).where(Experiment.id == experiment_id).with_for_update())
    return get_experiment(session, experiment_id)


def get_experiment(session: Session, experiment_id: str) -> Experiment:
    """The experiment.

    Raises:
        NotFound: there is none of that id.
    """
    experiment = session.get(Experiment, experiment_id)
    if experiment is None:
        raise NotFound(f"There is no experiment {experiment_id}.")
    return experiment


def find_tuned_experiment(session: Session, experiment: Experiment) -> Experiment | None:
    """The experiment with the trials: of a follow-up the one that it follows up, None if that was deleted."""
    source: Experiment | None = experiment
    while source is not None and source.document.get("confirms"):
        source = session.get(Experiment, source.document["confirms"])
    return source


def find_follow_ups(session: Session, experiment_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the experiments that follow up each of these, the oldest first."""
    query = select(Experiment).where(Experiment.confirms.in_(experiment_ids))
    rows = session.scalars(query.order_by(Experiment.created_at, Experiment.id)).all()
    return {pilot_id: [row.id for row in rows if row.confirms == pilot_id] for pilot_id in experiment_ids}


def get_experiment_names(session: Session, experiment_ids: Sequence[str]) -> dict[str, str]:
    """The names of those experiments that there are, by id."""
    query = select(Experiment.id, Experiment.name).where(Experiment.id.in_(experiment_ids))
    return dict(session.execute(query).all())


def get_baselines(session: Session, experiment_ids: Sequence[str]) -> dict[str, str]:
    """The baselines of those experiments that there are, by id."""
    query = select(Experiment.id, Experiment.document).where(Experiment.id.in_(experiment_ids))
    return {
        row.id: row.document["baseline"] or row.document["variants"][0]["name"]
        for row in session.execute(query)
    }


def get_progress(session: Session, experiment_ids: Sequence[str]) -> dict[str, ExperimentProgress]:
    """How far each experiment is, in a number of queries that does not grow with jobs or experiments."""
    ids = {"ids": experiment_ids}
    rows: dict[str, list[Any]] = {experiment_id: [] for experiment_id in experiment_ids}
    for row in session.execute(_COUNTS, ids):
        rows[row.experiment_id].append(row)
    variants: dict[str, list[Any]] = {experiment_id: [] for experiment_id in experiment_ids}
    for row in session.execute(_MEANS, ids):
        variants[row.experiment_id].append(row)
    unfinished = {
        experiment_id: [row for row in states if not JobState(row.state).terminal]
        for experiment_id, states in rows.items()
    }
    tuning = select(Experiment).where(Experiment.id.in_(experiment_ids), Experiment.auto_extending)
    # What is judged when the settings are chosen is not stored yet.
    later = {experiment.id: count_later_runs(experiment.document) for experiment in session.scalars(tuning)}
    waiting = {
        experiment_id: Waiting(
            running_seconds=max((row.eta or 0.0 for row in states), default=0.0),
            queued=sum(row.jobs for row in states if row.state == JobState.QUEUED)
            + later.get(experiment_id, 0),
            others=sum(row.jobs - row.with_eta for row in states if row.state != JobState.QUEUED),
            variants=max(row.variants for row in rows[experiment_id]),
        )
        for experiment_id, states in unfinished.items()
        if states
    }
    remaining = estimate_remaining(session, waiting)
    progress = {}
    for experiment_id, states in rows.items():
        jobs = sum(row.jobs for row in states)
        total = jobs + later.get(experiment_id, 0)
        done = jobs - sum(row.jobs - row.fraction for row in unfinished[experiment_id])
        progress[experiment_id] = ExperimentProgress(
            counts={JobState(row.state): row.jobs for row in states},
            reused=sum(row.reused for row in states),
            fraction=done / total if total else 0.0,
            remaining_seconds=remaining.get(experiment_id, 0.0),
            means=_build_means(variants[experiment_id]),
        )
    return progress


def find_chosen_variants(session: Session, experiment_ids: Sequence[str]) -> dict[str, str]:
    """The variant that validation chooses, of each of these experiments that has ended and has one."""
    progress = get_progress(session, experiment_ids)
    ended = [experiment_id for experiment_id, one in progress.items() if one.finished]
    chosen = {}
    for experiment in session.scalars(select(Experiment).where(Experiment.id.in_(ended))):
        document = experiment.document
        baseline = document["baseline"] or document["variants"][0]["name"]
        choice = choose_variant(
            document, get_common_means(session, experiment, progress[experiment.id]), baseline
        )
        if not isinstance(choice, str) and not experiment.auto_extending:
            chosen[experiment.id] = choice.variant
    return chosen


def get_common_means(
    session: Session, experiment: Experiment, progress: ExperimentProgress
) -> tuple[VariantMeans, ...]:
    """The means of an experiment's variants over the seeds that all of them run with."""
    if not get_closed(experiment.document):
        return progress.means
    query = _MEANS.where(Run.seed.in_(get_common_seeds(experiment.document)))
    return _build_means(session.execute(query, {"ids": [experiment.id]}).all())


def _build_means(rows: Sequence[Any]) -> tuple[VariantMeans, ...]:
    return tuple(
        VariantMeans(
            row.variant,
            row.seeds,
            row.validation_loss if row.validated == row.seeds else None,
            row.test_accuracy,
        )
        for row in rows
    )


class ExperimentProgressCache:
    """How far experiments are. Finished ones are cached: a job that has ended never changes."""

    def __init__(self, *, most: int = 1_000) -> None:
        self._finished: LRUCache[tuple[str, int], ExperimentProgress] = LRUCache(most)
        self._lock = Lock()

    def get(self, session: Session, experiment_ids: Sequence[str]) -> dict[str, ExperimentProgress]:
        """As `get_progress`, which is called only for those that had not finished, or have other jobs now."""
        keys = {experiment_id: (experiment_id, 0) for experiment_id in experiment_ids}
        for experiment_id, job_ids in session.execute(_JOBS, {"ids": experiment_ids}):
            # Sorted, because the database aggregates the ids of the jobs in any order.
            keys[experiment_id] = experiment_id, hash(tuple(sorted(job_ids.split(","))))
        with self._lock:
            progress = {item: cached for item, key in keys.items() if (cached := self._finished.get(key))}
        others = [experiment_id for experiment_id in experiment_ids if experiment_id not in progress]
        if others:
            progress |= get_progress(session, others)
            with self._lock:
                finished = {keys[item]: progress[item] for item in others if progress[item].finished}
                self._finished.update(finished)
        return progress


# Built once: building these queries takes longer than executing them.
_REQUESTED = Run.experiment_id.in_(bindparam("ids", expanding=True))
_JOBS = (
    select(Run.experiment_id, func.aggregate_strings(Run.job_id, ","))
    .where(_REQUESTED)
    .group_by(Run.experiment_id)
)
_COUNTS = (
    select(
        Run.experiment_id,
        Job.state,
        func.count().label("jobs"),
        func.sum(cast(Run.reused, Integer)).label("reused"),
        func.sum(Job.fraction).label("fraction"),
        func.max(Job.eta_seconds).label("eta"),
        func.count(Job.eta_seconds).label("with_eta"),
        func.count(Run.variant.distinct()).label("variants"),
    )
    .join(Job, Job.id == Run.job_id)
    .where(_REQUESTED)
    .group_by(Run.experiment_id, Job.state)
)
_METRICS = Result.__table__.c
_MEANS = (
    select(
        Run.experiment_id,
        Run.variant,
        func.count().label("seeds"),
        func.count(_METRICS.validation_loss).label("validated"),
        func.avg(_METRICS.validation_loss).label("validation_loss"),
        func.avg(_METRICS.test_accuracy).label("test_accuracy"),
    )
    .join(Result, Result.job_id == Run.job_id)
    .where(_REQUESTED, Run.purpose == Purpose.JUDGE)
    .group_by(Run.experiment_id, Run.variant)
    .order_by(Run.variant)
)
