"""What an experiment's tuning has tried and chosen, by validation alone."""

import math
from collections.abc import Sequence
from statistics import stdev

from api.reports.tuning_schemas import BudgetPoint, TrialLoss, TunedTrial, TunedVariant, TuningReport
from models.experiments import ExperimentSpec
from models.tuning import Trial
from models.tuning_curves import (
    compute_expected_best,
    compute_importance,
    compute_running_best,
    find_crossings,
)

_INDEPENDENT = ("random", "grid")
"""Methods of which any order of the trials is as likely: a grid is tried in random order."""


def build_tuning(
    spec: ExperimentSpec, trials: Sequence[Trial], experiment_id: str | None
) -> TuningReport | None:
    """The report on `trials`, of all variants, which this experiment has tried; None without tuning."""
    tune = spec.tune
    if tune is None:
        return None
    independent = tune.method in _INDEPENDENT
    compute = compute_expected_best if independent else compute_running_best
    groups = {
        variant.name: [trial for trial in trials if trial.variant == variant.name]
        for variant in spec.variants
    }
    budgets = {
        name: compute([trial.score for trial in group])
        for name, group in groups.items()
        if name in tune.chosen and any(math.isfinite(trial.score) for trial in group)
    }
    baseline = budgets.get(spec.baseline_name, [])
    parameters = {variant.name: spec.get_parameters(variant) for variant in spec.variants}
    variants = []
    for name, group in groups.items():
        items = [
            TunedTrial(
                trial=trial.number,
                parameters=trial.setting,
                validation_loss=TrialLoss(mean=trial.score, sd=stdev(losses) if len(losses) > 1 else None)
                if math.isfinite(trial.score)
                else None,
            )
            for trial in group
            for losses in [[loss for loss in trial.losses if loss is not None]]
        ]
        chosen = tune.chosen.get(name)
        variants.append(
            TunedVariant(
                variant=name,
                chosen=chosen,
                setting=tune.get_chosen(name),
                validation_loss=None if chosen is None else items[chosen].validation_loss,
                finished=sum(item.validation_loss is not None for item in items),
                budget=[
                    # JSON has no infinity.
                    BudgetPoint.model_validate(
                        {
                            field: number if math.isfinite(number) else None
                            for field, number in vars(budget).items()
                        }
                    )
                    for budget in budgets.get(name, [])
                ],
                crossings=find_crossings(budgets.get(name, []), baseline),
                importance=compute_importance(group, parameters[name]) if name in tune.chosen else None,
                trials=items,
            )
        )
    scales = {field: parameter.scale for fields in parameters.values() for field, parameter in fields.items()}
    return TuningReport(
        experiment_id=experiment_id,
        method=tune.method,
        trials=tune.trials,
        seeds_per_trial=tune.seeds_per_trial,
        independent=independent,
        log_scales=[field for field, scale in scales.items() if scale == "log"],
        variants=variants,
    )
