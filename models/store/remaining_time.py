"""How long experiments still take, with the workers that live and the owners who take turns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.orm import Session

from models.states import JobState
from models.store.database import UNFILTERED
from models.store.queue_positions import get_queue_positions
from models.store.sql_functions import SecondsBetween
from models.store.tables import Job, Result, Run
from models.store.workers import count_live_workers


@dataclass(frozen=True)
class Waiting:
    """What of an experiment is not done yet."""

    running_seconds: float
    """The longest time left of its running jobs."""
    queued: int
    others: int
    """Paused jobs, and running ones that have not shown their speed."""
    new_variants: int
    """Variants without a result, whose programs are still to be compiled."""


def estimate_remaining(session: Session, waiting: Mapping[str, Waiting]) -> dict[str, float | None]:
    """Seconds until the last job of each experiment ends; None until one of its jobs has a result.

    A job takes the mean of the experiment's finished ones, without compilation: programs are compiled for
    the first job of a variant only. Before the experiment's last queued job come all that the queue has
    before it: its owner's, and other owners' in their turns.
    """
    if not waiting:
        return {}
    ids = {"ids": list(waiting)}
    means = {row.experiment_id: row for row in session.execute(_MEAN_SECONDS, ids)}
    last = {row.experiment_id: row for row in session.execute(_LAST_QUEUED, ids)}
    positions = get_queue_positions(session, list(last.values()))
    processes = max(1, count_live_workers(session).processes)
    busy = float(session.scalar(_RUNNING_SECONDS) or 0.0)
    return {
        experiment_id: _estimate(
            item,
            means.get(experiment_id),
            before=positions.get(last[experiment_id].id, item.queued) if experiment_id in last else 0,
            busy=busy,
            processes=processes,
        )
        for experiment_id, item in waiting.items()
    }


def _estimate(item: Waiting, mean: Any, *, before: int, busy: float, processes: int) -> float | None:
    jobs = before + item.others
    if not jobs:
        return item.running_seconds
    if mean is None:
        return None
    work = busy + jobs * (mean.training + max(0.0, mean.overhead or 0.0))
    work += item.new_variants * (mean.compilation or 0.0)
    # No more processes than jobs can be of use.
    return max(item.running_seconds, float(work) / min(processes, jobs))


# Built once: building these queries takes longer than executing them.
_REQUESTED = Run.experiment_id.in_(bindparam("ids", expanding=True))
_METRICS = Result.__table__.c
_OVERHEAD = (
    SecondsBetween(Job.started_at, Job.finished_at) - _METRICS.training_seconds - _METRICS.compile_seconds
)
_UNINTERRUPTED = Job.attempt == 1
_MEAN_SECONDS = (
    select(
        Run.experiment_id,
        func.avg(_METRICS.training_seconds).label("training"),
        func.avg(case((_METRICS.compilations > 0, _METRICS.compile_seconds))).label("compilation"),
        # A process's first job also starts TensorFlow and loads the dataset: the mean of later ones, and
        # before there are any the least.
        func.coalesce(
            func.avg(case((_UNINTERRUPTED & (_METRICS.compilations == 0), _OVERHEAD))),
            func.min(case((_UNINTERRUPTED, _OVERHEAD))),
        ).label("overhead"),
    )
    .join(Result, Result.job_id == Run.job_id)
    .join(Job, Job.id == Run.job_id)
    .where(_REQUESTED)
    .group_by(Run.experiment_id)
)
_IN_ORDER = (
    select(
        Run.experiment_id,
        Job.id,
        Job.state,
        func.row_number()
        .over(
            partition_by=Run.experiment_id,
            order_by=(Job.priority, Job.created_at.desc(), Job.id.desc()),
        )
        .label("from_end"),
    )
    .join(Job, Job.id == Run.job_id)
    .where(_REQUESTED, Job.state == JobState.QUEUED)
    .subquery()
)
_LAST_QUEUED = select(_IN_ORDER).where(_IN_ORDER.c.from_end == 1)
_RUNNING_SECONDS = (
    select(func.sum(Job.eta_seconds)).where(Job.state == JobState.RUNNING).execution_options(**UNFILTERED)
)
