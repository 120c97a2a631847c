"""Experiments that add seeds by themselves, until a difference is known closely enough or a budget is spent.

The width of an interval decides, not what it says: adding seeds until p is small finds differences
where there are none, adding them until the interval is narrow does not (Chow and Robbins, On the
Asymptotic Theory of Fixed-Width Sequential Confidence Intervals, Ann. Math. Statistics 36, 1965).
"""

from collections.abc import Collection, Sequence
from itertools import count, islice

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from models.experiments import (
    FEWEST_PAIRS,
    MOST_SEEDS,
    ExperimentSpec,
    Extension,
    StoppingRule,
)
from models.metrics import METRICS
from models.spec import STORED
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
        spec = ExperimentSpec.model_validate(experiment.document, context=STORED)
        rule = spec.stopping_rule
        pilot = session.get(Experiment, experiment.confirms) if experiment.confirms else None
        used = {*spec.seeds, *(pilot.document["seeds"] if pilot else ())}
        if rule and (seeds := _get_more_seeds(spec, rule, get_runs(session, experiment.id), used)):
            document = Extension(seeds=seeds).apply_to(experiment.document)
            extended = ExperimentSpec.model_validate(document, context=STORED)
            jobs += extend_experiment(session, experiment, extended, planned=True)
        else:
            experiment.auto_extending = False
    return jobs


def _get_more_seeds(
    spec: ExperimentSpec, rule: StoppingRule, runs: Sequence[ExperimentRun], used: Collection[int]
) -> tuple[int, ...]:
    """The seeds to add, none of them `used`.

    None if the difference is known closely enough, the budget spent, or all hopeless.
    """
    from models.statistics import compute_paired_difference  # noqa: PLC0415 (numpy and scipy, only where needed)

    scale = METRICS[rule.metric].format.scale
    values: dict[str, dict[int, float]] = {spec.baseline_name: {}, rule.variant: {}}
    for run in runs:
        value = getattr(run.job.result, rule.metric, None)
        if run.variant in values and value is not None:
            values[run.variant][run.seed] = scale * value
    baseline, variant = values[spec.baseline_name], values[rule.variant]
    seeds = sorted(baseline.keys() & variant.keys())
    pairs, missing = len(seeds), FEWEST_PAIRS - len(seeds)
    difference = compute_paired_difference(
        [baseline[seed] for seed in seeds], [variant[seed] for seed in seeds]
    )
    if missing <= 0 and difference and difference.low is not None and difference.high is not None:
        ratio = (difference.high - difference.low) / 2 / rule.half_width
        # An interval half as wide takes four times as many pairs; at least one more, because of rounding.
        missing = max(1, round(pairs * ratio**2) - pairs) if ratio > 1 else 0
    affordable = min(MOST_SEEDS, rule.max_jobs // spec.runs_per_seed) - len(spec.seeds)
    # If no seed so far has given a pair, further ones would not either.
    if not pairs or missing <= 0 or affordable <= 0:
        return ()
    unused = (seed for seed in count() if seed not in used)
    return tuple(islice(unused, min(missing, affordable, _MOST_SEEDS_AT_ONCE)))
