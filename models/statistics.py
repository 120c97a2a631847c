"""Statistics of a paired comparison: pure functions on arrays.

Values are one number a seed. In pairs, both models of a pair share the seed: data split, initial weights,
batch order. Pairing takes what they share out of the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
# 2^20 sums are 8 MB and 20 ms; beyond, the distribution is sampled.
EXACT_UP_TO = 20
_SAMPLES = 100_000
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty. `sd`, `low` and `high` are None for a single value."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedDifference:
    """Differences within pairs. What the number of pairs does not allow to say is None."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    t_p: float | None
    sign_flip_p: float | None
    d: float | None


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean, standard deviation (n - 1) and 95 % t interval of `values`; None without values.

    Source: Student, The Probable Error of a Mean, Biometrika 6 (1908).
    """
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        return None
    mean = float(array.mean())
    if array.size == 1:
        return Estimate(1, mean, None, None, None)
    sd = _sd(array)
    half = _t_quantile(array.size - 1) * sd / float(np.sqrt(array.size))
    return Estimate(array.size, mean, sd, mean - half, mean + half)


def paired_difference(baseline: Sequence[float], variant: Sequence[float]) -> PairedDifference | None:
    """`variant` minus `baseline`, pair by pair; None without pairs.

    The 95 % interval and `t_p` are the paired t test's (Student 1908); `sign_flip_p` is the exact test below.
    `d` is the mean difference in standard deviations of the differences (Cohen's d_z; Cohen, Statistical
    Power Analysis for the Behavioral Sciences, 1988).

    Raises:
        ValueError: the two do not have the same length.
    """
    if len(baseline) != len(variant):
        raise ValueError("pairs need as many values on either side")
    differences = np.asarray(variant, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    found = estimate(differences.tolist())
    if found is None or found.sd is None:
        return None if found is None else PairedDifference(1, found.mean, None, None, None, None, None, None)
    return PairedDifference(
        n=found.n,
        mean=found.mean,
        sd=found.sd,
        low=found.low,
        high=found.high,
        t_p=_paired_t_p(found.mean, found.sd, found.n),
        sign_flip_p=sign_flip_p(differences),
        d=found.mean / found.sd if found.sd else None,
    )


def sign_flip_p(differences: Sequence[float] | Array) -> float | None:
    """Two-sided p of the sign-flip permutation test of the mean difference; None without differences.

    Where nothing distinguishes the two models, each difference could as well have the other sign: p is the
    share of all 2^n signings whose sum is at least as far from zero. Exact for up to 20 pairs; beyond, from
    100,000 signings drawn with a fixed seed, counting the observed one (Phipson and Smyth, 2010).
    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    array = np.asarray(differences, dtype=np.float64)
    if not array.size:
        return None
    observed = abs(float(array.sum()))
    # Sums that are equal on paper differ in their last bits by the order of adding.
    threshold = observed - 1e-9 * float(np.abs(array).sum())
    if array.size <= EXACT_UP_TO:
        return float(np.mean(np.abs(_all_signed_sums(array)) >= threshold))
    sums = np.zeros(_SAMPLES)
    generator = np.random.default_rng(0)
    for value in array:
        sums += value * generator.choice((-1.0, 1.0), size=_SAMPLES)
    return float((1 + np.count_nonzero(np.abs(sums) >= threshold)) / (1 + _SAMPLES))


def holm(p_values: Sequence[float]) -> list[float]:
    """`p_values` corrected for their number, in their order, so that any of them below 0.05 may be called.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statistics 6 (1979).
    """
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def proportion_standard_error(share: float, n: int) -> float:
    """The standard error of a share seen in `n` independent cases: of a test accuracy, say."""
    return float(np.sqrt(share * (1 - share) / n))


def _all_signed_sums(array: Array) -> Array:
    # The first sign stays: turning all signs gives the same distance from zero.
    sums = array[:1]
    for value in array[1:]:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _paired_t_p(mean: float, sd: float, n: int) -> float | None:
    if sd == 0:
        # Without any scatter the t statistic does not exist; without any difference there is none to find.
        return 1.0 if mean == 0 else None
    return float(2 * stdtr(n - 1, -abs(mean) / (sd / np.sqrt(n))))


def _sd(array: Array) -> float:
    # Equal values have no scatter, though their computed mean may miss them by a last bit.
    return 0.0 if np.ptp(array) == 0 else float(array.std(ddof=1))


def _t_quantile(degrees: int) -> float:
    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2))
