"""What an experiment will cost, and what it can be expected to show, before anything is stored."""

from math import sqrt

from sqlalchemy.orm import Session

from api.experiments import schemas
from models.cost import estimate_cost
from models.experiments import ExperimentSpec
from models.store.experiment_runs import compute_variance_over_seeds, find_reusable_jobs
from models.store.jobs import get_seconds_per_operation


def estimate_experiment_cost(
    session: Session, spec: ExperimentSpec, *, owner: str
) -> schemas.ExperimentCostEstimate:
    """The cost of all jobs that `spec` would create for `owner`."""
    runs = spec.build_runs()
    reusable = find_reusable_jobs(session, [run for _, run in runs], owner=owner) if spec.reuse else {}
    estimates = {
        variant.name: estimate_cost(spec.build_run_spec(variant, spec.run_seeds[0]))
        for variant in spec.variants
    }
    to_train = [variant for variant, run in runs if run.spec_hash not in reusable]
    operations = sum(estimates[variant].training_flops for variant in to_train)
    pace = get_seconds_per_operation(session)
    return schemas.ExperimentCostEstimate(
        jobs=len(runs),
        reused=len(runs) - len(to_train),
        to_train=len(to_train),
        training_flops=operations,
        estimated_seconds=None if pace is None else operations * pace,
        memory_bytes=max(estimate.memory_bytes for estimate in estimates.values()),
        parameters={name: item.parameters for name, item in estimates.items()},
        detectable=_build_detectable(session, spec),
    )


def _build_detectable(session: Session, spec: ExperimentSpec) -> schemas.Detectable | None:
    from models.statistics import compute_detectable_difference  # noqa: PLC0415 (numpy and scipy, only where asked)

    pairs = len(spec.run_seeds)
    if pairs < 2 or len(spec.variants) < 2:
        return None
    dataset = spec.base.dataset.name
    variance = compute_variance_over_seeds(session, dataset)
    basis = "80 % power of a two-sided paired t test at 5 %, not corrected for several variants"
    if variance is None:
        points = None
        basis += f"; no variant has been trained on {dataset} with two seeds here, so its variance is unknown"
    else:
        # Two models of one seed share part of their luck; counted as if they did not, this errs upwards.
        points = compute_detectable_difference(100 * sqrt(2 * variance), pairs)
        basis += (
            f"; variance from earlier experiments on {dataset} here, two models of one seed counted as if "
            "they shared no luck, so that rather less may show"
        )
    return schemas.Detectable(
        pairs=pairs,
        effect_size=compute_detectable_difference(1.0, pairs),
        accuracy_points=points,
        basis=basis,
    )
