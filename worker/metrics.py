"""Metrics of a classifier from its logits (n, classes) and labels (n,), in 64 bits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from models.records import CalibrationBin

Logits = NDArray[np.float32]
Array = NDArray[np.float64]

ECE_BINS = 15
MAX_TEMPERATURE = 20.0


@dataclass(frozen=True)
class Scores:
    """Cross-entropy in nats per example, without any penalty, and accuracy as a fraction."""

    loss: float
    accuracy: float


def compute_log_probabilities(logits: Logits) -> Array:
    """Log-softmax (n, classes), without overflow; not a number where logits are infinite."""
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalized: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized


def compute_scores(logits: Logits, labels: NDArray[np.int32]) -> Scores:
    """Mean cross-entropy and accuracy."""
    of_truth = compute_log_probabilities(logits)[np.arange(len(labels)), labels]
    return Scores(loss=float(-of_truth.mean()), accuracy=float((logits.argmax(axis=1) == labels).mean()))


def compute_brier(probabilities: Array, labels: NDArray[np.int32]) -> float:
    """Brier's score: mean squared distance to the one-hot truth, 0 (best) to 2.

    Source: Brier, Verification of Forecasts Expressed in Terms of Probability, MWR 78 (1950).
    """
    distance = probabilities.copy()
    distance[np.arange(len(labels)), labels] -= 1
    return float((distance**2).sum(axis=1).mean())


def compute_calibration_error(probabilities: Array, labels: NDArray[np.int32], bins: int = ECE_BINS) -> float:
    """Mean gap between confidence and accuracy over bins that hold equally many examples, 0 to 1.

    Source: Nguyen and O'Connor, Posterior Calibration and Exploratory Analysis, EMNLP (2015).
    """
    result = compute_calibration_bins(probabilities, labels, bins)
    return sum(abs(item.confidence - item.accuracy) * item.n for item in result) / len(labels)


def compute_debiased_calibration_error(
    probabilities: Array, labels: NDArray[np.int32], bins: int = ECE_BINS
) -> float | None:
    """The squared gap between confidence and accuracy, without the bias of finite bins; may be below 0.

    A bin of n examples with a right share of y adds y (1 - y) / (n - 1) to its squared gap by chance. None
    with a bin of fewer than two.

    Source: Kumar, Liang and Ma, Verified Uncertainty Calibration, NeurIPS (2019), definition 5.1.
    """
    result = compute_calibration_bins(probabilities, labels, bins)
    if any(item.n < 2 for item in result):
        return None
    debiased = (
        item.n * ((item.confidence - item.accuracy) ** 2 - item.accuracy * (1 - item.accuracy) / (item.n - 1))
        for item in result
    )
    return sum(debiased) / len(labels)


def fit_temperature(logits: Logits, labels: NDArray[np.int32]) -> float:
    """What to divide logits by for the lowest loss, 0.05 to 20; at it the loss is never above that at 1.

    The loss is convex in the temperature's inverse. It has no minimum between the ends where all answers are
    right or all wrong.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML (2017).
    """
    # An infinite logit would make the slope undefined.
    shifted = np.maximum(logits.astype(np.float64) - logits.max(axis=1, keepdims=True), -1e9)
    of_truth = shifted[np.arange(len(labels)), labels].mean()

    def compute_slope(inverse: float) -> float:
        weights = np.exp(inverse * shifted)
        expected = (weights * shifted).sum(axis=1) / weights.sum(axis=1)
        return float(expected.mean() - of_truth)

    low, high = 1 / MAX_TEMPERATURE, MAX_TEMPERATURE
    if compute_slope(low) >= 0:
        return MAX_TEMPERATURE
    if compute_slope(high) <= 0:
        return 1 / MAX_TEMPERATURE
    return float(1 / brentq(compute_slope, low, high, xtol=1e-6))


def compute_calibration_bins(
    probabilities: Array, labels: NDArray[np.int32], bins: int = ECE_BINS
) -> tuple[CalibrationBin, ...]:
    """Confidence and accuracy in up to `bins` bins that hold equally many examples, least certain first.

    Equal-mass bins, because nearly all of MNIST's confidences lie in the last bin of equal width.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    return tuple(
        CalibrationBin(len(group), float(confidence[group].mean()), float(correct[group].mean()))
        for group in np.array_split(order, bins)
        if len(group)
    )


def pack_correct(logits: Logits, labels: NDArray[np.int32]) -> bytes:
    """One bit an example, in their order, the first one highest: whether it was answered rightly."""
    return np.packbits(logits.argmax(axis=1) == labels).tobytes()


def compute_confusion_matrix(probabilities: Array, labels: NDArray[np.int32]) -> tuple[tuple[int, ...], ...]:
    """How often each truth (row) got each answer (column): counts (classes, classes)."""
    classes = probabilities.shape[1]
    cells = np.bincount(labels * classes + probabilities.argmax(axis=1), minlength=classes * classes)
    return tuple(tuple(row) for row in cells.reshape(classes, classes).tolist())
