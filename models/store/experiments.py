"""Experiments: create one with all its jobs, find them, and say how far they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from cachetools import LRUCache
from sqlalchemy import Integer, Select, bindparam, cast, func, select
from sqlalchemy.orm import Session

from models.errors import Conflict, NotFound
from models.experiments import ExperimentSpec
from models.identifiers import create_id
from models.states import JobState
from models.store.experiment_runs import add_runs
from models.store.job_search import NEWEST_FIRST, Cursor
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
    experiment = Experiment(
        id=create_id("exp"),
        owner=owner,
        name=spec.name,
        preset=preset,
        document=spec.resolve_seeds().model_dump(mode="json"),
        auto_extending=spec.stopping_rule is not None,
        created_at=get_database_now(session),
    )
    session.add(experiment)
    session.flush()
    return experiment, add_runs(session, experiment, spec.build_runs(), reuse=spec.reuse)


def extend_experiment(
    session: Session, experiment: Experiment, before: ExperimentSpec, after: ExperimentSpec
) -> list[Job]:
    """Store what `after` has and `before` has not; returns the new jobs. The experiment must be locked.

    Raises:
        Conflict: `after` has nothing new.
    """
    existing = {(variant.name, seed) for variant in before.variants for seed in before.run_seeds}
    results = [(name, run) for name, run in after.build_runs() if (name, run.seed) not in existing]
    if not results:
        raise Conflict(f"Experiment {experiment.id} has all these seeds and variants already.")
    experiment.document = after.resolve_seeds().model_dump(mode="json")
    experiment.auto_extending = after.stopping_rule is not None
    return add_runs(session, experiment, results, reuse=after.reuse)


def lock_experiment(session: Session, experiment_id: str) -> Experiment:
    """The experiment as it stands, and nobody else extends it before the commit.

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


def find_experiments(session: Session, *, after: Cursor | None, limit: int) -> list[Experiment]:
    """Up to `limit` experiments, newest first, from `after` on."""
    query = NEWEST_FIRST.apply_to(select(Experiment), Experiment.created_at, Experiment.id)
    if after is not None:
        query = query.where(NEWEST_FIRST.build_after(after, Experiment.created_at, Experiment.id))
    return list(session.scalars(query.limit(limit)))


def get_experiment_names(session: Session, experiment_ids: Sequence[str]) -> dict[str, str]:
    """The names of those experiments that there are, by id."""
    query = select(Experiment.id, Experiment.name).where(Experiment.id.in_(experiment_ids))
    return dict(session.execute(query).all())


def get_progress(session: Session, experiment_ids: Sequence[str]) -> dict[str, ExperimentProgress]:
    """How far each experiment is, in a number of queries that does not grow with jobs or experiments."""
    counts: dict[str, dict[JobState, int]] = {item: {} for item in experiment_ids}
    reused = dict.fromkeys(experiment_ids, 0)
    done: dict[str, float] = dict.fromkeys(experiment_ids, 0.0)
    left = {item: _Left() for item in experiment_ids}
    for experiment_id, state, count, linked, fraction, eta, with_eta in session.execute(
        _COUNTS, {"ids": experiment_ids}
    ):
        counts[experiment_id][JobState(state)] = count
        reused[experiment_id] += linked
        if JobState(state).terminal:
            done[experiment_id] += count
        else:
            done[experiment_id] += fraction
            left[experiment_id].seconds += eta or 0.0
            left[experiment_id].jobs_of_unknown_length += count - with_eta
    best = _find_best(session, experiment_ids)
    results = {}
    for item in experiment_ids:
        total = sum(counts[item].values())
        variant, job_id, accuracy, seconds_a_job = best.get(item, (None, None, None, None))
        results[item] = ExperimentProgress(
            counts=counts[item],
            reused=reused[item],
            fraction=done[item] / total if total else 0.0,
            remaining_seconds=left[item].total(seconds_a_job),
            best_variant=variant,
            best_job=job_id,
            best_test_accuracy=accuracy,
        )
    return results


class ExperimentProgressCache:
    """How far experiments are. What is known of finished ones is kept: a job that has ended never changes."""

    def __init__(self, *, most: int = 1_000) -> None:
        self._finished: LRUCache[str, tuple[int, ExperimentProgress]] = LRUCache(most)
        self._lock = Lock()

    def get(self, session: Session, experiment_ids: Sequence[str]) -> dict[str, ExperimentProgress]:
        """As `get_progress`, which is asked only for those that had not finished, or have other jobs now."""
        jobs = session.execute(_JOBS, {"ids": experiment_ids})
        # In whatever order the database found them.
        marks = {item: hash(tuple(sorted(ids.split(",")))) for item, ids in jobs}
        with self._lock:
            cached = {item: self._finished[item] for item in experiment_ids if item in self._finished}
        results = {
            item: progress for item, (version, progress) in cached.items() if version == marks.get(item, 0)
        }
        others = [item for item in experiment_ids if item not in results]
        if others:
            results |= get_progress(session, others)
            finished = {
                experiment_id: (marks.get(experiment_id, 0), results[experiment_id])
                for experiment_id in others
                if results[experiment_id].finished
            }
            with self._lock:
                self._finished.update(finished)
        return results


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


def _find_best(session: Session, experiment_ids: Sequence[str]) -> dict[str, tuple[str, str, float, float]]:
    """Of each experiment with results: the best one's variant, job and accuracy; the seconds a job took."""
    rows = session.execute(_BEST, {"ids": experiment_ids})
    return {experiment: (variant, job, accuracy, item) for experiment, variant, job, accuracy, item in rows}


def _select_best_runs() -> Select[Any]:
    """In one query, because looking the results up takes most of the time."""
    seconds = func.avg(Result.training_seconds + Result.compile_seconds).over(partition_by=Run.experiment_id)
    rank = func.row_number().over(
        partition_by=Run.experiment_id,
        order_by=(Result.test_accuracy.desc(), Result.test_loss, Run.job_id, Run.variant),
    )
    ranked = (
        select(
            Run.experiment_id,
            Run.variant,
            Run.job_id,
            Result.test_accuracy,
            seconds.label("seconds"),
            rank.label("rank"),
        )
        .join(Result, Result.job_id == Run.job_id)
        .where(_ASKED_FOR)
        .subquery()
    )
    return select(
        ranked.c.experiment_id,
        ranked.c.variant,
        ranked.c.job_id,
        ranked.c.test_accuracy,
        ranked.c.seconds,
    ).where(ranked.c.rank == 1)


# Made once: to make these queries takes longer than to ask them.
_ASKED_FOR = Run.experiment_id.in_(bindparam("ids", expanding=True))
_JOBS = (
    select(Run.experiment_id, func.aggregate_strings(Run.job_id, ","))
    .where(_ASKED_FOR)
    .group_by(Run.experiment_id)
)
_COUNTS = (
    select(
        Run.experiment_id,
        Job.state,
        func.count(),
        func.sum(cast(Run.reused, Integer)),
        func.sum(Job.fraction),
        func.sum(Job.eta_seconds),
        func.count(Job.eta_seconds),
    )
    .join(Job, Job.id == Run.job_id)
    .where(_ASKED_FOR)
    .group_by(Run.experiment_id, Job.state)
)
_BEST = _select_best_runs()
