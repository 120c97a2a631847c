"""Bias and variance: cases by hand, the identities, and sources that were put in."""

import numpy as np
import pytest
from scipy.special import log_softmax

from models.bias_variance import decompose
from models.decompositions import Measured
from models.statistics import compute_mean_interval

LABELS = np.array([0, 1, 1])
# Two models, three images, two classes.
BY_HAND = np.log([[[0.9, 0.1], [0.8, 0.2], [0.5, 0.5]], [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]])


def draw(seeds: int, parts: int, images: int = 60, classes: int = 4) -> tuple[list[np.ndarray], np.ndarray]:
    stream = np.random.default_rng(seeds * 100 + parts)
    logs = log_softmax(3 * stream.normal(size=(seeds, parts, images, classes)), axis=-1)
    return [*logs], stream.integers(0, classes, images)


def test_a_case_by_hand() -> None:
    result = decompose([BY_HAND], LABELS, crossed=False)
    # Equal models have no variance; of opposite ones the geometric mean is even.
    divergence = -np.log(2 * 0.4)
    assert result.cross_entropy.variance.value == pytest.approx(divergence / 3)
    assert result.cross_entropy.bias.value == pytest.approx((-np.log(0.9) + 2 * np.log(2)) / 3)
    assert result.brier.variance.value == pytest.approx(2 * 0.3**2 / 3)
    assert result.brier.variance_unbiased.value == pytest.approx(2 * 2 * 0.3**2 / 3)
    assert result.brier.bias_squared.value == pytest.approx((2 * 0.1**2 + 0.5 + 0.5) / 3)
    # The second image's answers are 0 and 1, of which 0 is taken; the third's are both 0.
    assert result.zero_one.bias.value == pytest.approx(2 / 3)
    assert result.zero_one.variance.value == pytest.approx(1 / 6)
    assert result.zero_one.mean_loss.value == pytest.approx(0.5)
    assert result.due_to is None


@pytest.mark.parametrize(("seeds", "parts"), [(1, 2), (1, 5), (3, 4)])
def test_bias_and_variance_add_up_to_the_mean_loss(seeds: int, parts: int) -> None:
    logs, labels = draw(seeds, parts)
    result = decompose(logs, labels, crossed=False)
    stacked = np.stack(logs)
    loss = -stacked[:, :, np.arange(len(labels)), labels].mean()
    cross_entropy, brier, zero_one = result.cross_entropy, result.brier, result.zero_one
    assert cross_entropy.mean_loss.value == pytest.approx(loss, abs=1e-12)
    assert cross_entropy.bias.value + cross_entropy.variance.value == pytest.approx(loss, abs=1e-12)
    assert brier.bias_squared.value + brier.variance.value == pytest.approx(brier.mean_loss.value, abs=1e-12)
    assert brier.variance_unbiased.value == pytest.approx(brier.variance.value * parts / (parts - 1))
    # The divergence by its definition.
    geometric = log_softmax(stacked.mean(axis=1), axis=-1)[:, None]
    divergence = (np.exp(geometric) * (geometric - stacked)).sum(axis=-1).mean()
    assert cross_entropy.variance.value == pytest.approx(divergence, abs=1e-12)
    # Domingos (2000): where the mode is wrong, right answers are what variance gains.
    net = 0.0
    for answers in stacked.argmax(axis=-1):
        for image, label in enumerate(labels):
            mode = np.bincount(answers[:, image]).argmax()
            right = (answers[:, image] == label).mean()
            net += (1 - right if mode == label else -right) / (len(labels) * seeds)
    assert zero_one.mean_loss.value == pytest.approx(zero_one.bias.value + net)


def test_intervals_are_t_over_seeds_and_of_one_seed_over_images() -> None:
    logs, labels = draw(3, 4)
    singles = [decompose([seed], labels, crossed=False).cross_entropy.variance.value for seed in logs]
    assert decompose(logs, labels, crossed=False).cross_entropy.variance == Measured(
        pytest.approx(np.mean(singles)), *map(pytest.approx, compute_mean_interval(singles, level=0.05))
    )
    losses = -logs[0].mean(axis=0)[np.arange(len(labels)), labels]
    of_one = decompose(logs[:1], labels, crossed=False).cross_entropy.mean_loss
    assert (of_one.low, of_one.high) == pytest.approx(compute_mean_interval(losses.tolist(), level=0.05))
    # Two seeds have a wide interval, of one degree of freedom, and not none.
    of_two = decompose(logs[:2], labels, crossed=False).cross_entropy.variance
    assert of_two.high - of_two.value == pytest.approx(12.706 * np.ptp(singles[:2]) / 2, rel=1e-3)


def test_the_unbiased_variance_is_that_of_infinitely_many_parts() -> None:
    stream = np.random.default_rng(1)
    # Many images of one law stand for repetitions of one image.
    logs = log_softmax(stream.normal(size=(5, 40_000, 3)), axis=-1)
    result = decompose([logs], np.zeros(40_000, int), crossed=False)
    truth = np.exp(log_softmax(stream.normal(size=(400_000, 3)), axis=-1)).var(axis=0).sum()
    assert result.brier.variance_unbiased.value == pytest.approx(truth, rel=0.01)
    assert result.brier.variance.value < 0.85 * truth


def test_variance_is_due_to_what_it_was_made_of() -> None:
    stream, (seeds, parts, images) = np.random.default_rng(2), (2, 5, 50_000)
    data = stream.normal(0, 0.03, (1, parts, images))
    initialization = stream.normal(0, 0.02, (seeds, 1, images))
    together = stream.normal(0, 0.01, (seeds, parts, images))
    first = np.clip(0.5 + data + initialization + together, 0.01, 0.99)
    logs = np.log(np.stack([first, 1 - first], axis=-1))
    due_to = decompose([*logs], np.zeros(images, int), crossed=True).due_to
    assert due_to is not None
    # Both classes vary alike.
    assert due_to.data.value == pytest.approx(2 * 0.03**2, rel=0.03)
    assert due_to.initialization.value == pytest.approx(2 * (0.02**2 + 0.01**2), rel=0.03)
    assert decompose([*logs], np.zeros(images, int), crossed=False).due_to is None
    assert decompose([logs[0]], np.zeros(images, int), crossed=True).due_to is None
