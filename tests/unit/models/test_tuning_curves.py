"""What smaller budgets would have found, against all choices of trials."""

import math
from itertools import combinations

import numpy as np
import pytest

from models.tuning import Parameter, Trial
from models.tuning_curves import (
    Budget,
    compute_expected_best,
    compute_importance,
    compute_running_best,
    find_crossings,
)

SCORES = [0.5, 0.2, 0.9, 0.3, 0.3, 0.7]
RATE, FACTOR = "/training/optimizer/learning_rate", "/regularization/l2/factor"


def test_the_expected_best_is_the_mean_over_all_choices_of_so_many_trials() -> None:
    budgets = compute_expected_best(SCORES)
    assert [budget.trials for budget in budgets] == [1, 2, 3, 4, 5, 6]
    for budget in budgets:
        lowest = [min(choice) for choice in combinations(SCORES, budget.trials)]
        assert budget.value == pytest.approx(np.mean(lowest))
        inside = np.mean([budget.low <= value <= budget.high for value in lowest])
        assert inside >= 0.8
    assert budgets[0].value == pytest.approx(np.mean(SCORES))
    assert budgets[-1] == Budget(6, 0.2, 0.2, 0.2)


def test_a_failed_trial_leaves_an_expectation_only_where_it_cannot_be_the_best() -> None:
    budgets = compute_expected_best([0.4, math.inf, 0.2])
    assert math.isinf(budgets[0].value)
    assert budgets[1].value == pytest.approx((0.4 + 0.2 + 0.2) / 3)
    assert compute_expected_best([math.inf])[0].value == math.inf
    many = compute_expected_best(np.random.default_rng(0).uniform(size=500).tolist())
    assert (many[0].trials, many[-1].trials, len(many)) == (1, 500, 61)
    assert [budget.value for budget in many] == sorted((budget.value for budget in many), reverse=True)


def test_the_estimate_is_unbiased_for_fresh_trials() -> None:
    random = np.random.default_rng(1)
    # Of m uniform numbers the lowest is 1 / (m + 1) on average.
    estimates = [[one.value for one in compute_expected_best(random.uniform(size=8))] for _ in range(2000)]
    assert np.mean(estimates, axis=0) == pytest.approx([1 / (m + 1) for m in range(1, 9)], abs=0.008)


def test_the_running_best_follows_the_order_of_trials_and_curves_may_cross() -> None:
    running = compute_running_best([0.5, 0.2, 0.9])
    assert [budget.value for budget in running] == [0.5, 0.2, 0.2]
    late = compute_running_best([0.3, 0.3, 0.1])
    assert find_crossings(running, late) == [2, 3]
    assert find_crossings(running, running) == []


def test_importance_names_the_parameter_that_matters() -> None:
    random = np.random.default_rng(0)
    parameters = {
        RATE: Parameter(low=1e-4, high=1e-2, scale="log"),
        FACTOR: Parameter(values=(0.0, 0.001, 0.01)),
    }
    trials = [
        Trial("none", index, {RATE: rate, FACTOR: factor}, (abs(math.log10(rate) + 3),))
        for index in range(40)
        for rate in [float(10 ** random.uniform(-4, -2))]
        for factor in [[0.0, 0.001, 0.01][index % 3]]
    ]
    importance = compute_importance(trials, parameters)
    assert importance is not None
    assert importance[RATE] > 2 * importance[FACTOR]
    assert sum(importance.values()) == pytest.approx(1)
    assert compute_importance(trials[:9], parameters) is None
    assert compute_importance(trials, {RATE: parameters[RATE]}) is None
