"""What a search for settings says in hindsight: what fewer trials would have found, what mattered."""

import json
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.tuning import Parameter, Trial

MOST_BUDGETS = 60
FEWEST_FOR_IMPORTANCE = 10
_TAIL = 0.1


@dataclass(frozen=True)
class Budget:
    """The lowest score that so many trials find; infinite where all of them may have failed."""

    trials: int
    value: float
    low: float
    high: float


def compute_expected_best(scores: Sequence[float]) -> list[Budget]:
    """The mean of the lowest score of m of these trials, for m from 1 to all, whichever come first.

    With v sorted from worst to best it is sum_i v_(i) C(i-1, m-1) / C(N, m), which is unbiased for
    independent settings (Dodge et al., EMNLP 2019; Tang et al., ACL 2020). `low` and `high` bound the lowest
    score in 80 % of the choices of m among these trials: they say nothing about other trials.
    """
    ordered, count = sorted(scores, reverse=True), len(scores)
    budgets = []
    steps = range(MOST_BUDGETS + 1)
    for trials in sorted({round(1 + step * (count - 1) / MOST_BUDGETS) for step in steps}):
        choices = math.comb(count, trials)
        shares = [math.comb(rank, trials - 1) / choices for rank in range(count)]
        value = sum(share * score for share, score in zip(shares, ordered, strict=True) if share)
        reached, ends = 0.0, []
        for share, score in zip(shares, ordered, strict=True):
            before, reached = reached, reached + share
            ends += [score for tail in (_TAIL, 1 - _TAIL) if before < tail <= reached]
        budgets.append(Budget(trials, value, ends[-1], ends[0]))
    return budgets


def compute_running_best(scores: Sequence[float]) -> list[Budget]:
    """The lowest score so far, in the order of trials: for methods that do not draw them independently."""
    best = [min(scores[: trials + 1]) for trials in range(len(scores))]
    return [Budget(trials, value, value, value) for trials, value in enumerate(best, 1)]


def find_crossings(one: Sequence[Budget], other: Sequence[Budget]) -> list[int]:
    """The budgets from which on the other of two curves is the lower one."""
    values = {budget.trials: budget.value for budget in other}
    signs = [
        (budget.trials, budget.value < values[budget.trials])
        for budget in one
        if budget.trials in values and budget.value != values[budget.trials]
    ]
    return [trials for (trials, lower), (_, before) in zip(signs[1:], signs, strict=False) if lower != before]


def compute_importance(
    trials: Sequence[Trial], parameters: Mapping[str, Parameter]
) -> dict[str, float] | None:
    """How much each of two parameters or more tells good trials from others: shares that add up to 1.

    None with fewer than ten trials that did not fail. By Optuna's PED-ANOVA (Watanabe et al., IJCAI 2023).
    """
    finished = [trial for trial in trials if math.isfinite(trial.score)]
    if len(parameters) < 2 or len(finished) < FEWEST_FOR_IMPORTANCE:
        return None
    import optuna  # noqa: PLC0415 (a second, and only where settings were tuned)

    logging.getLogger("optuna").setLevel(logging.ERROR)
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        field: optuna.distributions.CategoricalDistribution([json.dumps(one) for one in parameter.values])
        if parameter.values is not None
        else optuna.distributions.FloatDistribution(
            parameter.low or 0.0, parameter.high or 0.0, log=parameter.scale == "log"
        )
        for field, parameter in parameters.items()
    }
    study = optuna.create_study()
    for trial in finished:
        values = {
            field: value if parameters[field].values is None else json.dumps(value)
            for field, value in trial.setting.items()
        }
        study.add_trial(
            optuna.trial.create_trial(params=values, distributions=distributions, value=trial.score)
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        importance: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return importance
