"""Time, epochs and operations until a variant's models reach a validation target, from stored epochs."""

import math
from collections.abc import Mapping, Sequence

from scipy.special import bdtr
from sqlalchemy.orm import Session

from api.reports.target_schemas import Median, TargetItem, TargetMetric, TargetReport
from models.cost import compute_training_flops
from models.spec import STORED, JobSpec
from models.states import JobState
from models.store.report_data import load_best_epochs, load_first_epochs
from models.store.tables import Job


def build_targets(
    session: Session,
    variants: Mapping[str, Sequence[Job]],
    baseline: str,
    metric: TargetMetric,
    target: float | None,
) -> TargetReport:
    """What each of `variants` takes, whose jobs are one a seed; those without an end are left out.

    `target` None: the best value that every finished seed of the baseline reached.
    """
    ended = {
        name: [job for job in jobs if job.result is not None or job.state == JobState.FAILED]
        for name, jobs in variants.items()
    }
    lower = metric == "validation_loss"
    if target is None:
        finished = [job.id for job in ended.get(baseline, ()) if job.result is not None]
        best = load_best_epochs(session, finished, metric, lower=lower)
        if len(best) == len(finished) and best:
            target = (max if lower else min)(best.values())
    if target is None:
        return TargetReport(metric=metric, target=None, items=[])
    ids = [job.id for jobs in ended.values() for job in jobs]
    first = load_first_epochs(session, ids, metric, target, lower=lower)
    items = []
    for name, jobs in ended.items():
        if not jobs:
            continue
        spec = JobSpec.model_validate(jobs[0].spec, context=STORED)
        costs = [
            (epoch, seconds, compute_training_flops(spec, epoch))
            for job in jobs
            if job.id in first
            for epoch, seconds in [first[job.id]]
        ]
        never = [(math.inf,) * 3] * (len(jobs) - len(costs))
        epochs, seconds, flops = map(compute_median, zip(*costs, *never, strict=True))
        items.append(
            TargetItem(
                variant=name, seeds=len(jobs), reached=len(costs), epochs=epochs, seconds=seconds, flops=flops
            )
        )
    return TargetReport(metric=metric, target=target, items=items)


def compute_median(values: Sequence[float]) -> Median:
    """The median of `values`, one at least and infinite where there is none, with its 95 % interval.

    The ends are the k-th values from either side, for the largest k with P(Binomial(n, 1/2) < k) <= 0.025.
    Source: Conover, Practical Nonparametric Statistics (1999), section 3.2.
    """
    ordered, count = sorted(values), len(values)
    middle = ordered[(count - 1) // 2] / 2 + ordered[count // 2] / 2
    rank = int((bdtr(range(count), count, 0.5) <= 0.025).sum())
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (math.inf, math.inf)
    finite = (value if math.isfinite(value) else None for value in (middle, low, high))
    return Median(**dict(zip(("value", "low", "high"), finite, strict=True)))
