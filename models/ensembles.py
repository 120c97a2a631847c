"""Ensembles of models that differ in their seeds: the mean of their probabilities for each test image.

Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty Estimation Using Deep
Ensembles, NeurIPS (2017).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.decompositions import Measured
from models.statistics import compute_mean_interval

Array = NDArray[np.float64]


class EnsembleScores(NamedTuple):
    """Of so many members: accuracy as a fraction, loss in nats, Brier score from 0 to 2."""

    members: int
    accuracy: float
    loss: float
    brier: float


@dataclass(frozen=True)
class EnsembleGain:
    """The ensemble of all members minus their mean, with 95 % intervals over the test images alone."""

    accuracy_points: Measured
    loss: Measured
    brier: Measured


def measure_ensembles(logs: Array, labels: NDArray[np.integer]) -> tuple[list[EnsembleScores], EnsembleGain]:
    """Scores of ensembles of 1 to M members, and the gain of the largest, of two members or more.

    `logs` are log-probabilities (M, n, classes) for images with `labels` (n,). The scores of a size are means
    over the M ensembles of so many neighbours in the circle of members, so that each member counts equally.
    """
    count = len(logs)
    # (M, classes, n): sums and maxima over few classes of many images are faster over whole rows of images.
    probabilities = np.exp(logs).transpose(0, 2, 1).copy()
    scores, sums = [], np.zeros_like(probabilities)
    for members in range(1, count + 1):
        # All members make one ensemble, whichever the first is.
        circle = range(1 if members == count else count)
        by_image = np.empty((len(circle), 3, len(labels)))
        for first in circle:
            sums[first] += probabilities[(first + members - 1) % count]
            _score_images(sums[first], members, labels, by_image[first])
        if members == 1:
            single = by_image.mean(axis=0)
        scores.append(EnsembleScores(members, *by_image.mean(axis=(0, 2)).tolist()))
    points, loss, brier = (by_image[0] - single) * np.array([[100.0], [1.0], [1.0]])
    gain = EnsembleGain(_measure(points), _measure(loss), _measure(brier))
    return scores, gain


def _score_images(sums: Array, members: int, labels: NDArray[np.integer], scores: Array) -> None:
    """Write accuracy, loss and Brier score of each image into `scores` (3, n).

    `sums` are the probabilities of so many members, added up (classes, n).
    """
    of_truth = sums[labels, np.arange(len(labels))]
    highest = sums == sums.max(axis=0)
    scores[0] = highest[labels, np.arange(len(labels))]
    if np.count_nonzero(highest) > len(labels):
        # Of classes with equal probability the first is the answer. It takes longer, and is rare.
        scores[0] = sums.argmax(axis=0) == labels
    # Of logarithms in single precision the exponential may be zero.
    scores[1] = -np.log(np.maximum(of_truth / members, np.finfo(np.float64).tiny))
    scores[2] = np.einsum("kn,kn->n", sums, sums) / members**2 - 2 * of_truth / members + 1


def _measure(values: Array) -> Measured:
    low, high = compute_mean_interval(values.tolist(), level=0.05, fewest=2)
    return Measured(float(values.mean()), low, high)
