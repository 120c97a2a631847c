"""How much models memorize training images: accuracy on an image by models that saw it, minus by the others.

Feldman and Zhang, What Neural Networks Memorize and Why, NeurIPS (2020). Each model has its own training
images, drawn at random. With few models a difference may be chance: had seeing an image no effect, the models
that saw it would be any of them, and of the right answers to it as many theirs as a hypergeometric law says
(Fisher's exact test). How many images of a map reach a difference by chance is the sum over them, as in
Heyse, A False Discovery Rate Procedure for Categorical Data (2011).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from models.statistics import compute_mean_interval

FEWEST_MODELS = 4
"""On either side of an image: the largest difference then has a chance of 1 in 70; with 3, of 1 in 20."""
THRESHOLD = 0.25
"""From where on Feldman and Zhang call an image memorized."""
FALSE_SHARE = 0.05
"""Of the images that are called memorized so many, at most, are expected by chance."""
LEVEL = 0.05
_Z = 1.959964
# Differences lie between -1 and 1. The edges lie below the multiples of 0.1 by less than two differences are
# apart, so that a difference of 0.3 that is 0.29999 in 64 bits is in the bin that begins with 0.3.
EDGES = np.arange(-10, 11) / 10
_ROUNDING = 1e-9

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ModelAnswers:
    """Of m models which of n images each saw and gets right, (m, n), and the seed of each."""

    seen: Bits
    correct: Bits
    seeds: Sequence[int]

    def find_images(self) -> Counts:
        """The images with `FEWEST_MODELS` on either side."""
        saw = self.seen.sum(axis=0)
        return np.flatnonzero((saw >= FEWEST_MODELS) & (len(self.seen) - saw >= FEWEST_MODELS))

    def count_training_sets(self) -> int:
        """How many different sets of images the models were trained on."""
        return len({row.tobytes() for row in np.packbits(self.seen, axis=1)})


@dataclass(frozen=True)
class MemorizationMap:
    """Of k images: which they are, and how the models that saw each and the others answer. All are (k,)."""

    images: Counts
    models_in: Counts
    models_out: Counts
    correct_in: Counts
    correct_out: Counts
    estimates: Array
    chances: Array
    """The probability of such a difference or a larger one, had seeing the image no effect."""
    memorized: Bits
    """Whether it is among the largest set of least chances of which `FALSE_SHARE` is expected by chance."""
    expected_above_threshold: float
    """How many images would have an estimate of `THRESHOLD` or more by chance."""
    histogram: Counts
    """How many images have an estimate between two `EDGES`; the last bin has both of its ends."""
    expected_histogram: Array
    """The same by chance."""

    @property
    def is_above_threshold(self) -> Bits:
        """Which estimates are `THRESHOLD` or more."""
        return self.estimates >= THRESHOLD - _ROUNDING


def build_map(answers: ModelAnswers) -> MemorizationMap:
    """Compare, for each image with enough models on either side, those that saw it with the others."""
    from scipy.stats import hypergeom  # noqa: PLC0415 (two thirds of a report's modules, and few have a map)

    images = answers.find_images()
    seen, correct = answers.seen[:, images], answers.correct[:, images]
    models_in, correct_in = seen.sum(axis=0), (seen & correct).sum(axis=0)
    models_out, correct_out = len(seen) - models_in, correct.sum(axis=0) - correct_in
    estimates = correct_in / models_in - correct_out / models_out
    chances = np.ones(len(images))
    # What every image could have shown: estimate, chance of it or more, and how many images are expected to.
    possible: list[Array] = []
    kinds, kind_of, counts = np.unique(
        np.stack([models_in, correct_in + correct_out]), axis=1, return_inverse=True, return_counts=True
    )
    for kind, ((saw, right), count) in enumerate(zip(kinds.T.tolist(), counts.tolist(), strict=True)):
        others = len(seen) - saw
        values = np.arange(max(0, right - others), min(saw, right) + 1)
        density = hypergeom.pmf(values, len(seen), right, saw)
        # Summed from the rare end, so that small chances lose no digits.
        tails = np.minimum(density[::-1].cumsum()[::-1], 1.0)
        possible.append(np.stack([values / saw - (right - values) / others, tails, count * density]))
        of_kind = kind_of == kind
        chances[of_kind] = tails[correct_in[of_kind] - values[0]]
    reachable, tails, expected = np.concatenate(possible, axis=1) if possible else np.empty((3, 0))
    edges = EDGES - _ROUNDING
    edges[-1] = 1 + _ROUNDING
    return MemorizationMap(
        images=images,
        models_in=models_in,
        models_out=models_out,
        correct_in=correct_in,
        correct_out=correct_out,
        estimates=estimates,
        chances=chances,
        memorized=chances <= _find_critical_chance(chances, tails, expected),
        expected_above_threshold=float(expected[reachable >= THRESHOLD - _ROUNDING].sum()),
        histogram=np.histogram(estimates, edges)[0],
        expected_histogram=np.histogram(reachable, edges, weights=expected)[0],
    )


def _find_critical_chance(chances: Array, tails: Array, expected: Array) -> float:
    """The largest chance of which, or less, images are at most `FALSE_SHARE` by chance; -1 if there is none.

    `expected` is how many images are expected with each of `tails`.
    """
    observed = np.sort(chances)
    order = np.argsort(tails)
    sums = np.concatenate([[0.0], expected[order].cumsum()])
    # At or below each observed chance, counted with all that equal it.
    by_chance = sums[np.searchsorted(tails[order], observed, side="right")]
    images = np.searchsorted(observed, observed, side="right")
    allowed = observed[by_chance <= FALSE_SHARE * images]
    return float(allowed.max()) if len(allowed) else -1.0


def compute_difference_interval(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """The 95 % interval of the first share minus the second, each given as (count, of how many).

    Source: Newcombe, Interval Estimation for the Difference between Independent Proportions, Statistics in
    Medicine 17 (1998), method 10.
    """
    (p1, low1, high1), (p2, low2, high2) = map(_compute_wilson, (first, second))
    return (
        p1 - p2 - sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2),
        p1 - p2 + sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2),
    )


def _compute_wilson(share: tuple[int, int]) -> tuple[float, float, float]:
    """A share, and the ends of its interval (Wilson 1927)."""
    count, n = share
    p = count / n
    center, half = p + _Z**2 / (2 * n), _Z * sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return p, (center - half) / (1 + _Z**2 / n), (center + half) / (1 + _Z**2 / n)


def compute_mean(answers: ModelAnswers, images: Counts) -> float:
    """The mean estimate over `images`."""
    return _average(_count(answers.seen[:, images], answers.correct[:, images]))


def compute_replicates(answers: ModelAnswers, images: Counts) -> list[float]:
    """The same as pseudo-values of leaving out one seed's models after another; empty with one seed.

    Their scatter is that of the mean estimate over seeds (Tukey's jackknife).
    """
    seeds = sorted(set(answers.seeds))
    if len(seeds) < 2:
        return []
    seen, correct = answers.seen[:, images], answers.correct[:, images]
    of_seed, totals = np.array(answers.seeds), _count(seen, correct)
    left_out = [_average(totals - _count(seen[of_seed == seed], correct[of_seed == seed])) for seed in seeds]
    return [len(seeds) * _average(totals) - (len(seeds) - 1) * value for value in left_out]


def compute_interval(replicates: Sequence[float]) -> tuple[float | None, float | None]:
    """The 95 % t interval of what `compute_replicates` returns, or of differences of such."""
    return compute_mean_interval(replicates, level=LEVEL)


def _count(seen: Bits, correct: Bits) -> Counts:
    """Of each image (k,) the models that saw it, those of them that are right, and the same of the others."""
    return np.stack([part.sum(axis=0) for part in (seen, seen & correct, ~seen, ~seen & correct)])


def _average(counts: Counts) -> float:
    models_in, correct_in, models_out, correct_out = counts
    return float((correct_in / models_in - correct_out / models_out).mean())
