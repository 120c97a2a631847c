"""How long experiments still take, and new ones would, with the workers that live."""

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
    variants: int


def estimate_remaining(session: Session, waiting: Mapping[str, Waiting]) -> dict[str, float | None]:
    """Seconds until the last job of each experiment ends; None until one of its jobs has a result.

    A job takes what the experiment's finished ones took, and each process compiles each variant's programs
    once. Before the experiment's last queued job come all that the queue has before it: its owner's, and
    other owners' in their turns.
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
    programs = min(max(0, item.variants * processes - mean.trained), item.queued + item.others)
    work = busy + jobs * (mean.training + max(0.0, mean.overhead or 0.0)) + programs * mean.compilation
    # No more processes than jobs can be of use.
    return max(item.running_seconds, float(work) / min(processes, jobs))


# Built once: building these queries takes longer than executing them.
_REQUESTED = Run.experiment_id.in_(bindparam("ids", expanding=True))
_METRICS = Result.__table__.c
_OVERHEAD = (
    SecondsBetween(Job.started_at, Job.finished_at) - _METRICS.training_seconds - _METRICS.compile_seconds
)
_UNINTERRUPTED = Job.attempt == 1
# A job that compiles also warms up its process, while others compile: the mean of those that did not, and
# before there are any the least.
_IS_WARM = _METRICS.compilations == 0
_SECONDS_PER_OPERATION = func.coalesce(
    func.sum(case((_IS_WARM, _METRICS.training_seconds)))
    / func.sum(case((_IS_WARM, _METRICS.training_flops))),
    func.min(_METRICS.training_seconds / _METRICS.training_flops),
)
_MEAN_OVERHEAD = func.coalesce(
    func.avg(case((_UNINTERRUPTED & _IS_WARM, _OVERHEAD))), func.min(case((_UNINTERRUPTED, _OVERHEAD)))
)
_MEAN_SECONDS = (
    select(
        Run.experiment_id,
        func.sum(case((Run.reused, 0), else_=1)).label("trained"),
        (_SECONDS_PER_OPERATION * func.avg(_METRICS.training_flops)).label("training"),
        func.avg(_METRICS.compile_seconds).label("compilation"),
        _MEAN_OVERHEAD.label("overhead"),
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


@dataclass(frozen=True)
class Pace:
    """How fast the jobs were trained that finished here last, and how many are trained at once."""

    seconds_per_operation: float
    seconds_per_job: float
    """For starting it, loading its examples and storing its model, however short the training."""
    seconds_per_program: float
    """For compiling, by each process, the programs of jobs that differ in their seeds only."""
    processes: int

    def estimate_seconds(self, operations: float, *, jobs: int = 1, programs: int = 1) -> float:
        """Seconds that `jobs` with so many operations in total take if no others are trained."""
        processes = max(1, min(self.processes, jobs))
        compiled = min(jobs, programs * processes)
        work = operations * self.seconds_per_operation + jobs * self.seconds_per_job
        return (work + compiled * self.seconds_per_program) / processes


def get_pace(session: Session) -> Pace | None:
    """The pace of this installation; None before any job was trained here."""
    row = session.execute(_PACE).one()
    if row.pace is None:
        return None
    # Small jobs spend their time per step: by its operations alone a large one would take days.
    pace = min(row.pace, _SLOWEST_PACE)
    return Pace(
        pace,
        max(0.0, row.overhead or 0.0) + (row.pace - pace) * row.operations,
        row.compilation or 0.0,
        count_live_workers(session).processes,
    )


_PACE_JOBS = 100
"""Jobs that tell the pace of training: enough to be steady, few enough to read at every estimate."""
_SLOWEST_PACE = 1e-9
"""Seconds an operation takes at most in a network that is large enough to keep a processor core busy.

A 784-512-512-10 network took 1.3e-10 on a core of an AMD EPYC that other work slowed down.
"""
_NEWEST = (
    select(Job.id)
    .where(Job.state == JobState.SUCCEEDED)
    .order_by(Job.created_at.desc(), Job.id.desc())
    .limit(_PACE_JOBS)
)
_PACE = (
    select(
        (func.sum(_METRICS.training_seconds) / func.sum(_METRICS.training_flops)).label("pace"),
        func.avg(_METRICS.training_flops).label("operations"),
        _MEAN_OVERHEAD.label("overhead"),
        func.avg(case((~_IS_WARM, _METRICS.compile_seconds))).label("compilation"),
    )
    .join(Job, Job.id == Result.job_id)
    .where(Result.job_id.in_(_NEWEST))
    .execution_options(**UNFILTERED)
)
