"""Ensembles against their definition."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import log_softmax

from models.ensembles import measure_ensembles

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 4, 60)
LOGS = log_softmax(2 * RANDOM.normal(size=(4, 60, 4)) + np.eye(4)[LABELS], axis=-1)
TRUTH = np.eye(4)[LABELS]


def compute_brier(probabilities: np.ndarray) -> float:
    return float(((probabilities - TRUTH) ** 2).sum(axis=-1).mean())


def test_the_brier_score_of_an_ensemble_is_the_mean_minus_the_variance() -> None:
    scores, gain = measure_ensembles(LOGS, LABELS)
    probabilities = np.exp(LOGS)
    variance = probabilities.var(axis=0).sum(axis=-1).mean()
    assert scores[0].brier == pytest.approx(compute_brier(probabilities))
    assert scores[-1].brier == pytest.approx(scores[0].brier - variance, abs=1e-14)
    assert gain.brier.value == pytest.approx(-variance, abs=1e-14)
    # Of fewer members the variance within the ensemble is smaller: on average over all that there are.
    assert [size.brier for size in scores] == sorted((size.brier for size in scores), reverse=True)


def test_each_size_is_the_mean_over_neighbours_in_the_circle_of_members() -> None:
    scores, gain = measure_ensembles(LOGS, LABELS)
    assert [size.members for size in scores] == [1, 2, 3, 4]
    probabilities = np.exp(LOGS)
    pairs = [probabilities[[first, (first + 1) % 4]].mean(axis=0) for first in range(4)]
    losses = [-np.log(pair[np.arange(60), LABELS]).mean() for pair in pairs]
    assert scores[1].loss == pytest.approx(np.mean(losses))
    assert scores[1].accuracy == pytest.approx(np.mean([pair.argmax(axis=1) == LABELS for pair in pairs]))
    # Of three all combinations are neighbours.
    threes = [probabilities[[*members]].mean(axis=0) for members in combinations(range(4), 3)]
    assert scores[2].brier == pytest.approx(np.mean([compute_brier(three) for three in threes]))
    together = probabilities.mean(axis=0)
    assert scores[3].loss == pytest.approx(-np.log(together[np.arange(60), LABELS]).mean())
    assert gain.loss.value == pytest.approx(scores[3].loss - scores[0].loss)
    assert gain.accuracy_points.value == pytest.approx(100 * (scores[3].accuracy - scores[0].accuracy))
    assert gain.loss.low is not None
    assert gain.loss.low < gain.loss.value < (gain.loss.high or 0)


def test_certain_mistakes_have_a_finite_loss() -> None:
    logs = np.log(np.array([[[0.0, 1.0]], [[0.0, 1.0]]]).clip(1e-300))
    scores, gain = measure_ensembles(logs - 500, np.array([0]))
    assert np.isfinite([size.loss for size in scores]).all()
    assert gain.loss.low is None


def test_of_classes_with_equal_probability_the_first_is_the_answer() -> None:
    scores, _ = measure_ensembles(np.log(np.full((2, 3, 4), 0.25)), np.array([0, 1, 3]))
    assert [size.accuracy for size in scores] == pytest.approx([1 / 3, 1 / 3])
