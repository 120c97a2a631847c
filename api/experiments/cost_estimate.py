"""What an experiment will cost, and what it can be expected to show, before anything is stored."""

from collections.abc import Collection
from itertools import product
from math import isfinite, sqrt

from sqlalchemy.orm import Session

from api.experiments import schemas
from models.cost import CostEstimate, estimate_cost
from models.experiments import FEWEST_PAIRS, ExperimentSpec, Regime
from models.formatting import format_count
from models.run_key import Purpose
from models.store.experiment_runs import find_reusable_jobs, get_variance_over_seeds
from models.store.remaining_time import get_pace

_SUPERIORITY = 0.75
"""P(A > B) from which on a difference is worth having (Bouthillier et al., MLSys 2021)."""


def estimate_experiment_cost(
    session: Session, spec: ExperimentSpec, *, owner: str
) -> schemas.ExperimentCostEstimate:
    """The cost of all jobs that `spec` would create for `owner`.

    With tuning the jobs that judge are priced at the first of the settings that may be chosen.
    """
    if not spec.is_tuned:
        from models.tuning_methods import plan_all  # noqa: PLC0415 (numpy and scipy, only where needed)

        spec = plan_all(spec)
    runs = spec.build_runs()
    halving = spec.tune is not None and spec.tune.method == "halving"
    candidates = [run for key, run in runs if not (halving and key.purpose == Purpose.TUNE)]
    reusable = find_reusable_jobs(session, candidates, owner=owner) if spec.reuse else {}
    # Of a variant the largest of all points.
    estimates: dict[str, CostEstimate] = {}
    for variant, point in product(spec.variants, spec.points):
        estimate = estimate_cost(spec.build_run_spec(variant, spec.run_seeds[0], point=point))
        estimates[variant.name] = max(
            estimate, estimates.get(variant.name, estimate), key=lambda cost: cost.memory_bytes
        )
    to_train = [(key, run) for key, run in runs if run.spec_hash not in reusable]
    # Not all trials of successive halving are trained to their end.
    costs = [
        (
            estimate_cost(run),
            spec.tune.compute_share(run.training.planned_epochs)
            if spec.tune and key.purpose == Purpose.TUNE
            else 1.0,
        )
        for key, run in to_train
    ]
    operations = sum(cost.total_flops * share for cost, share in costs)
    rule, pace = spec.stopping_rule, get_pace(session)
    programs = min(len(to_train), len(spec.variants) * len(spec.points))
    added = max(0, rule.max_jobs - len(runs)) if rule else 0
    most = operations + added * max(estimate.total_flops for estimate in estimates.values())
    return schemas.ExperimentCostEstimate(
        jobs=len(runs),
        reused=len(runs) - len(to_train),
        to_train=len(to_train),
        training_flops=sum(cost.training_flops * share for cost, share in costs),
        robustness_flops=sum(cost.robustness_flops for cost, _ in costs),
        memorization_flops=sum(cost.memorization_flops for cost, _ in costs),
        estimated_seconds=pace and pace.estimate_seconds(operations, jobs=len(to_train), programs=programs),
        max_jobs=len(runs) + added,
        max_seconds=pace and pace.estimate_seconds(most, jobs=len(to_train) + added, programs=programs),
        memory_bytes=max(estimate.memory_bytes for estimate in estimates.values()),
        parameters={name: item.parameters for name, item in estimates.items()},
        detectable=_build_detectable(session, spec, {item.parameters for item in estimates.values()}),
    )


def _build_detectable(
    session: Session, spec: ExperimentSpec, parameters: Collection[int]
) -> schemas.Detectable | None:
    from models import inference, statistics  # noqa: PLC0415 (numpy and scipy, only where asked)

    pairs, tests = len(spec.run_seeds), (len(spec.variants) - 1) * len(spec.points) * len(spec.primary)
    if pairs < FEWEST_PAIRS or not tests:
        return None
    anytime = spec.inference_rule == "sequential"
    level = inference.LEVELS[Regime.SEQUENTIAL if anytime else Regime.FIXED]
    effect = statistics.compute_detectable_difference(1.0, pairs, level=level / tests, anytime=anytime)
    if not isfinite(effect):
        return None
    superiority_pairs = statistics.compute_noether_pairs(_SUPERIORITY)
    basis = f"80 % power at the report's level, {level:g} for {format_count(tests, 'test')} together"
    dataset, epochs = spec.base.dataset.name, spec.base.training.planned_epochs
    variance = get_variance_over_seeds(session, spec.base.dataset, epochs=epochs, parameters=parameters)
    if variance is None:
        return schemas.Detectable(
            pairs=pairs,
            effect_size=effect,
            accuracy_points=None,
            accuracy_points_low=None,
            accuracy_points_high=None,
            superiority_pairs=superiority_pairs,
            basis=f"{basis}; no such network has been trained here on {dataset} for "
            f"{format_count(epochs, 'epoch')} with two seeds, so that its variance is unknown",
        )
    # Two models of one seed have something in common; counted as if they had not, this errs upwards.
    sd = 100 * sqrt(2 * variance.value)
    interval = statistics.compute_sd_interval(sd, variance.degrees_of_freedom + 1)
    return schemas.Detectable(
        pairs=pairs,
        effect_size=effect,
        accuracy_points=effect * sd,
        accuracy_points_low=effect * interval.low,
        accuracy_points_high=effect * interval.high,
        superiority_pairs=superiority_pairs,
        basis=f"{basis}; variance from earlier experiments with such networks on {dataset}, as if models "
        "of one seed had nothing in common, so that somewhat less may be detected",
    )
