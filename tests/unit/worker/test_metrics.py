import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.metrics import log_loss

from worker.metrics import (
    compute_brier,
    compute_calibration_bins,
    compute_calibration_error,
    compute_confusion_matrix,
    compute_debiased_calibration_error,
    compute_log_probabilities,
    compute_scores,
    fit_temperature,
    pack_correct,
)


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, 10)).astype(np.float32) * 3


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(10, size=500).astype(np.int32)


def test_loss_and_accuracy_agree_with_scikit_learn(logits: np.ndarray, labels: np.ndarray) -> None:
    measured = compute_scores(logits, labels)
    probabilities = np.exp(compute_log_probabilities(logits))
    assert measured.loss == pytest.approx(log_loss(labels, probabilities, labels=range(10)), rel=1e-12)
    assert measured.accuracy == float((logits.argmax(1) == labels).mean())


def test_large_logits_do_not_overflow() -> None:
    measured = compute_scores(np.array([[1e4, 0.0], [0.0, 1e4]], np.float32), np.array([0, 0], np.int32))
    assert measured.loss == pytest.approx(5_000)
    assert measured.accuracy == 0.5


def test_brier_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]])
    # First: 0.3^2 + 0.2^2 + 0.1^2 = 0.14. Second, wholly wrong: 1 + 1 = 2.
    assert compute_brier(probabilities, np.array([0, 0], np.int32)) == pytest.approx((0.14 + 2.0) / 2)


def test_calibration_error_by_hand() -> None:
    # Two bins of two: confidences .6, .6 with one right; .9, .9 with both right.
    confident = np.array([0.6, 0.6, 0.9, 0.9])
    probabilities = np.stack([confident, 1 - confident], axis=1)
    error = compute_calibration_error(probabilities, np.array([0, 1, 0, 0], np.int32), bins=2)
    assert error == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)


def test_calibration_error_of_a_calibrated_forecast_is_small() -> None:
    stream = np.random.default_rng(2)
    confidence = stream.uniform(0.5, 1.0, size=50_000)
    labels = (stream.uniform(size=50_000) > confidence).astype(np.int32)
    assert compute_calibration_error(np.stack([confidence, 1 - confidence], axis=1), labels) < 0.01


def test_the_debiased_calibration_error_by_hand() -> None:
    # As above: gaps of 0.1; of the first bin chance adds 0.5 x 0.5 / (2 - 1), of the second nothing.
    confident = np.array([0.6, 0.6, 0.9, 0.9])
    probabilities = np.stack([confident, 1 - confident], axis=1)
    error = compute_debiased_calibration_error(probabilities, np.array([0, 1, 0, 0], np.int32), bins=2)
    assert error == pytest.approx((2 * (0.01 - 0.25) + 2 * 0.01) / 4)


def test_the_debiased_calibration_error_of_a_calibrated_forecast_is_zero_on_average() -> None:
    stream = np.random.default_rng(3)
    debiased, raw = [], []
    for _ in range(400):
        confidence = 1 - stream.uniform(0, 0.5, size=1000) ** 3
        labels = (stream.uniform(size=1000) > confidence).astype(np.int32)
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        debiased.append(compute_debiased_calibration_error(probabilities, labels) or 0.0)
        raw.append(compute_calibration_error(probabilities, labels))
    # The raw error of a perfect model is far from its own zero: 0.01 in each of the 400.
    assert np.mean(raw) > 20 * np.std(raw) / np.sqrt(400)
    assert abs(np.mean(debiased)) < 3 * np.std(debiased) / np.sqrt(400)


@pytest.mark.parametrize("spread", [0.1, 1.0, 8.0])
def test_the_temperature_lowers_the_loss_and_leaves_every_answer(spread: float) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 500).astype(np.int32)
    logits = (spread * (random.normal(size=(500, 5)) + 1.5 * np.eye(5)[labels])).astype(np.float32)
    temperature = fit_temperature(logits, labels)
    before, after = compute_scores(logits, labels), compute_scores(logits / temperature, labels)
    assert after.loss <= before.loss
    assert after.accuracy == before.accuracy
    for other in (0.99 * temperature, 1.01 * temperature):
        assert compute_scores(logits / other, labels).loss >= after.loss
    # Logits that are larger by a factor take a temperature that is larger by the same.
    assert fit_temperature(2 * logits, labels) == pytest.approx(2 * temperature, rel=1e-4)


def test_answers_that_are_all_right_or_all_wrong_take_a_temperature_at_an_end() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0]], np.float32)
    assert fit_temperature(logits, np.array([0, 1], np.int32)) == 0.05
    assert fit_temperature(logits, np.array([1, 0], np.int32)) == 20
    assert compute_scores(logits / 0.05, np.array([0, 1], np.int32)).loss < 1e-5


def test_a_bin_of_one_example_has_no_debiased_calibration_error() -> None:
    assert compute_debiased_calibration_error(np.array([[0.8, 0.2]]), np.array([0], np.int32)) is None


def test_fewer_examples_than_bins() -> None:
    error = compute_calibration_error(np.array([[0.8, 0.2]]), np.array([0], np.int32))
    assert error == pytest.approx(0.2)


def test_confusion_matrix_agrees_with_scikit_learn(logits: np.ndarray, labels: np.ndarray) -> None:
    ours = compute_confusion_matrix(np.exp(compute_log_probabilities(logits)), labels)
    theirs = sklearn_metrics.confusion_matrix(labels, logits.argmax(1), labels=range(10))
    assert ours == tuple(map(tuple, theirs.tolist()))


def test_calibration_bins_by_hand() -> None:
    confident = np.array([0.9, 0.6, 0.8, 0.6])
    probabilities = np.stack([confident, 1 - confident], axis=1)
    unsure, sure = compute_calibration_bins(probabilities, np.array([0, 1, 0, 0], np.int32), bins=2)
    assert (unsure.n, unsure.confidence, unsure.accuracy) == (2, pytest.approx(0.6), 0.5)
    assert (sure.n, sure.confidence, sure.accuracy) == (2, pytest.approx(0.85), 1.0)


def test_the_bins_give_the_calibration_error(logits: np.ndarray, labels: np.ndarray) -> None:
    probabilities = np.exp(compute_log_probabilities(logits))
    bins = compute_calibration_bins(probabilities, labels)
    assert len(bins) == 15
    assert {bin_.n for bin_ in bins} == {33, 34}
    gaps = [abs(bin_.confidence - bin_.accuracy) * bin_.n / 500 for bin_ in bins]
    assert compute_calibration_error(probabilities, labels) == pytest.approx(sum(gaps), rel=1e-12)


def test_correct_images_are_bits_in_the_order_of_the_images() -> None:
    logits = np.eye(10, dtype=np.float32)
    labels = np.array([0, 9, 2, 9, 9, 9, 9, 9, 9, 9], np.int32)
    assert pack_correct(logits, labels) == bytes([0b10100000, 0b01000000])


def test_confusion_has_a_row_and_a_column_for_each_class() -> None:
    probabilities = np.array([[0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2]])
    confusion = compute_confusion_matrix(probabilities, np.array([1, 0, 0], np.int32))
    assert confusion == ((1, 0, 1), (0, 1, 0), (0, 0, 0))
