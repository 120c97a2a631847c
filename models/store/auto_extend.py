"""Experiments that add seeds by themselves, until a difference is known closely enough or a budget is spent.

The width of an interval decides, not what it says: adding seeds until p is small finds differences
where there are none, adding them until the interval is narrow does not (Chow and Robbins, On the
Asymptotic Theory of Fixed-Width Sequential Confidence Intervals, Ann. Math. Statistics 36, 1965).
"""

from collections.abc import Sequence
from itertools import count, islice

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from models.experiments import (
    FEWEST_PAIRS,
    MOST_SEEDS,
    STOPPING_METRICS,
    ExperimentSpec,
    Extension,
    StoppingRule,
)
from models.states import UNFINISHED
from models.store.experiment_runs import ExperimentRun, get_runs
from models.store.experiments import extend_experiment
from models.store.tables import Experiment, Job, Run

_MOST_SEEDS_AT_ONCE = 10


def auto_extend_experiments(session: Session) -> list[Job]:
    """Add seeds to each experiment whose stopping rule asks for them; return the new jobs."""
    unfinished = (
        exists()
        .where(Run.experiment_id == Experiment.id, Run.job_id == Job.id, Job.state.in_(UNFINISHED))
        .correlate(Experiment)
    )
    # One that another worker is extending is skipped.
    ready = select(Experiment).where(Experiment.auto_extending, ~unfinished).with_for_update(skip_locked=True)
    jobs: list[Job] = []
    for experiment in session.scalars(ready).all():
        spec = ExperimentSpec.model_validate(experiment.document)
        seeds = _get_more_seeds(spec, get_runs(session, experiment.id))
        if seeds:
            extended = ExperimentSpec.model_validate(Extension(seeds=seeds).apply_to(experiment.document))
            jobs += extend_experiment(session, experiment, spec, extended)
        else:
            experiment.auto_extending = False
    return jobs


def _get_more_seeds(spec: ExperimentSpec, runs: Sequence[ExperimentRun]) -> tuple[int, ...]:
    """The seeds to add; none if the difference is known closely enough, the budget spent, or all hopeless."""
    rule = spec.stopping_rule
    if rule is None:
        return ()
    pairs, half_width = _measure_difference(spec, rule, runs)
    affordable = min(MOST_SEEDS, rule.max_jobs // len(spec.variants)) - len(spec.seeds)
    if half_width is None or pairs < FEWEST_PAIRS:
        missing = FEWEST_PAIRS - pairs
    elif half_width <= rule.half_width:
        missing = 0
    else:
        # An interval half as wide takes four times as many pairs; at least one more, because of rounding.
        missing = max(1, round(pairs * (half_width / rule.half_width) ** 2) - pairs)
    # If no seed so far has given a pair, further ones would not either.
    if not pairs or missing <= 0 or affordable <= 0:
        return ()
    unused = (seed for seed in count() if seed not in spec.seeds)
    return tuple(islice(unused, min(missing, affordable, _MOST_SEEDS_AT_ONCE)))


def _measure_difference(
    spec: ExperimentSpec, rule: StoppingRule, runs: Sequence[ExperimentRun]
) -> tuple[int, float | None]:
    """How many pairs there are of the chosen difference, and half the width of its interval."""
    from models.statistics import compute_paired_difference  # noqa: PLC0415 (numpy and scipy, only where needed)

    unit = STOPPING_METRICS[rule.metric]
    values: dict[str, dict[int, float]] = {spec.baseline_name: {}, rule.variant: {}}
    for run in runs:
        if run.variant in values and run.job.result is not None:
            values[run.variant][run.seed] = unit * getattr(run.job.result, rule.metric)
    baseline, variant = values[spec.baseline_name], values[rule.variant]
    seeds = sorted(baseline.keys() & variant.keys())
    paired_difference = compute_paired_difference(
        [baseline[seed] for seed in seeds], [variant[seed] for seed in seeds]
    )
    if paired_difference is None or paired_difference.low is None or paired_difference.high is None:
        return len(seeds), None
    return paired_difference.n, (paired_difference.high - paired_difference.low) / 2
