"""Bias and variance over training sets, of models of one variant that were trained on disjoint parts.

Cross-entropy: Heskes, Bias/Variance Decompositions for Likelihood-Based Estimators, Neural Computation 10
(1998); Yang et al., Rethinking Bias-Variance Trade-off, ICML (2020). Brier score: Geman, Bienenstock and
Doursat, Neural Computation 4 (1992). 0-1 loss: Domingos, A Unified Bias-Variance Decomposition, ICML (2000).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from models.decompositions import (
    BiasVariance,
    BrierParts,
    CrossEntropyParts,
    Measured,
    VarianceSources,
    ZeroOneParts,
)
from models.statistics import compute_mean_interval
from models.variance_components import separate_variances

LEVEL = 0.05
Array = NDArray[np.float64]


def decompose(seeds: Sequence[Array], labels: NDArray[np.integer], *, crossed: bool) -> BiasVariance:
    """Decompose the losses on test images with `labels` (n,).

    Each of `seeds` holds log-probabilities (parts, n, classes), of two parts or more. `crossed`: all seeds
    have the same parts; only then variance can be separated by its sources, from two seeds on. Intervals
    are t over seeds; of one seed over test images alone, for these parts. Resampling parts would not do: it
    shrinks a variance by (k-1)/k.
    """
    cross_entropy = average_cross_entropy([decompose_cross_entropy(logs, labels) for logs in seeds])
    brier = _average([_decompose_brier(logs, labels) for logs in seeds])
    zero_one = _average([_decompose_zero_one(logs, labels) for logs in seeds])
    sources = None
    if crossed and len(seeds) > 1:
        seed, data, rest = separate_variances(np.exp(np.stack(seeds)))
        # What seeds and parts do only together would otherwise count for the data, in part.
        sources = VarianceSources(_measure([data.sum(axis=1)]), _measure([(seed + rest).sum(axis=1)]))
    return BiasVariance(cross_entropy, BrierParts(*brier), ZeroOneParts(*zero_one), sources)


def average_cross_entropy(seeds: Sequence[Sequence[Array]]) -> CrossEntropyParts:
    """Means over seeds and images of what `decompose_cross_entropy` returns, or of differences of such."""
    return CrossEntropyParts(*_average(seeds))


def decompose_cross_entropy(logs: Array, labels: NDArray[np.integer]) -> list[Array]:
    """Loss, bias and variance of each image, of log-probabilities (parts, n, classes) of one seed."""
    images, mean = np.arange(len(labels)), logs.mean(axis=0)
    # The divergence of each model from the normalized mean is, on average, the normalization's logarithm.
    normalization = logsumexp(mean, axis=1)
    return [-mean[images, labels], normalization - mean[images, labels], -normalization]


def _decompose_brier(logs: Array, labels: NDArray[np.integer]) -> list[Array]:
    """Loss, squared bias, variance and unbiased variance of each image."""
    probabilities, parts = np.exp(logs), len(logs)
    truth, mean = np.eye(logs.shape[2])[labels], probabilities.mean(axis=0)
    loss = ((probabilities - truth) ** 2).sum(axis=2).mean(axis=0)
    variance = ((probabilities - mean) ** 2).sum(axis=2).mean(axis=0)
    return [loss, ((mean - truth) ** 2).sum(axis=1), variance, variance * parts / (parts - 1)]


def _decompose_zero_one(logs: Array, labels: NDArray[np.integer]) -> list[Array]:
    """Loss, bias and variance of each image; of equally frequent answers the smallest is taken."""
    answers = logs.argmax(axis=2)
    mode = (answers[..., None] == np.arange(logs.shape[2])).sum(axis=0).argmax(axis=1)
    values = [(answers != labels).mean(axis=0), mode != labels, (answers != mode).mean(axis=0)]
    return [np.asarray(value, np.float64) for value in values]


def _average(seeds: Sequence[Sequence[Array]]) -> list[Measured]:
    return [_measure(values) for values in zip(*seeds, strict=True)]


def _measure(seeds: Sequence[Array]) -> Measured:
    """The mean over seeds and images of values (n,) of each seed."""
    replicates = [float(values.mean()) for values in seeds] if len(seeds) > 1 else seeds[0].tolist()
    low, high = compute_mean_interval(replicates, level=LEVEL, fewest=2)
    return Measured(float(np.mean(replicates)), low, high)
