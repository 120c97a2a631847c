"""Statistics of a paired comparison: pure functions on arrays.

Values are one number a seed. In pairs, both models of a pair share the seed: data split, initial weights,
batch order. Pairing takes what they share out of the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, chdtri, nctdtrinc, ndtri, stdtr, stdtrit

CONFIDENCE = 0.95
ALPHA = 0.05
"""How often chance alone may make a report call something different."""
POWER = 0.8
"""With which probability a detectable difference is found."""
EXACT_UP_TO = 16
"""Pairs up to which every sign flip is tried (2^15 of them); beyond, `SIGN_FLIPS` are drawn."""
SIGN_FLIPS = 20_000
FEW_SIGN_FLIPS = {6: 1.28, 7: 1.17, 8: 1.06, 9: 1.03}
"""How many times the difference that a t test detects the test by sign flips needs, by pairs.

With six pairs only 32 flips differ, and at 0.045 only the most extreme may be called. Simulated with normal
differences and 2, 10 and 42 tests: tests/studies/test_verdicts.py checks the power.
"""
FEWEST_FOR_INTERVAL = 3
"""Two equal values would give an interval without width."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty; `sd` is None for a single value, `low` and `high` for fewer than three."""

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
    d: float | None
    superiority: float | None
    superiority_low: float | None
    superiority_high: float | None


@dataclass(frozen=True)
class AnytimeDifference:
    """A mean difference at any number of pairs. `low` and `high` are infinite where there are too few."""

    n: int
    mean: float | None
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class FamilyDifference:
    """One of several mean differences that are tested together: p and interval hold for all at once."""

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Interval:
    """Where a true value probably lies."""

    low: float
    high: float


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
    sd = _compute_sd(array)
    low, high = compute_mean_interval(values, level=1 - CONFIDENCE)
    return Estimate(array.size, mean, sd, low, high)


def compute_paired_difference(baseline: Sequence[float], variant: Sequence[float]) -> PairedDifference | None:
    """`variant` minus `baseline`, pair by pair; None without pairs.

    The 95 % interval and `t_p` are the paired t test's (Student 1908).
    `d` is the mean difference in standard deviations of the differences (Cohen's d_z; Cohen, Statistical
    Power Analysis for the Behavioral Sciences, 1988). `superiority` is the share of pairs in which the
    variant's value is the higher, half of each tie counted (Grissom and Kim, Effect Sizes for Research),
    with the interval of `compute_share_interval`.

    Raises:
        ValueError: the two do not have the same length.
    """
    differences = np.asarray(compute_differences(baseline, variant))
    summary = estimate(differences.tolist())
    if summary is None:
        return None
    # Without any scatter the t statistic does not exist; without any difference there is none to find.
    t_p = 1.0 if summary.sd == 0 == summary.mean else None
    if summary.sd:
        t_p = float(2 * stdtr(summary.n - 1, -abs(summary.mean) / (summary.sd / np.sqrt(summary.n))))
    higher = float(np.sum(np.sign(differences) / 2 + 0.5))
    share = compute_share_interval(higher, summary.n) if summary.n > 1 else None
    return PairedDifference(
        n=summary.n,
        mean=summary.mean,
        sd=summary.sd,
        low=summary.low,
        high=summary.high,
        t_p=t_p,
        d=summary.mean / summary.sd if summary.sd else None,
        superiority=higher / summary.n if share else None,
        superiority_low=share.low if share else None,
        superiority_high=share.high if share else None,
    )


def compute_mean_interval(
    values: Sequence[float], *, level: float, fewest: int = FEWEST_FOR_INTERVAL
) -> tuple[float | None, float | None]:
    """The ends of the t interval of the mean of `values` that misses the true one with probability `level`.

    Both None below `fewest` values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size < fewest:
        return None, None
    mean, half = float(array.mean()), _compute_half_width(_compute_sd(array), array.size, 1 - level)
    return mean - half, mean + half


def compute_differences(baseline: Sequence[float], variant: Sequence[float]) -> list[float]:
    """`variant` minus `baseline`, pair by pair, rounded to the twelve digits of the larger value.

    What is equal on paper differs in its last bits: 0.92 - 0.90 is not 0.93 - 0.91. Such bits must not pass
    for a scatter, beside which any difference is large.

    Raises:
        ValueError: the two do not have the same length.
    """
    if len(baseline) != len(variant):
        raise ValueError("pairs need as many values on either side")
    first, second = np.asarray(baseline, np.float64), np.asarray(variant, np.float64)
    largest = max(np.abs(first).max(initial=0), np.abs(second).max(initial=0))
    digits = 12 - int(np.ceil(np.log10(largest))) if largest else 0
    differences: list[float] = np.round(second - first, digits).tolist()
    return differences


def anytime_difference(values: Sequence[float], *, alpha: float = ALPHA) -> AnytimeDifference:
    """An interval and a p of the mean of `values` that hold at every number of pairs, at every look.

    Where the true mean is zero, p falls to `alpha` at any n with probability `alpha` at most, for normal
    values of any variance; the interval excludes zero exactly where p is below `alpha`.
    Source: Lai, On Confidence Sequences, Ann. Statistics 4 (1976); Wang and Ramdas, Anytime-Valid t-Tests and
    Confidence Sequences for Gaussian Means with Unknown Variance (2023), with a prior precision of 1.
    """
    array = np.asarray(values, dtype=np.float64)
    n = array.size
    if n < 2:
        return AnytimeDifference(n, float(array.mean()) if n else None, -np.inf, np.inf, 1.0)
    mean, sd = float(array.mean()), _compute_sd(array)
    squares = float(np.square(array).sum())
    if squares == 0:
        return AnytimeDifference(n, 0.0, 0.0, 0.0, 1.0)
    # E = sqrt(1 / (n + 1)) ((n + 1) V / ((n + 1) V - S^2))^(n / 2), in logarithms, because it may overflow.
    # (n + 1) V - S^2 = V + n SS, with SS the sum of squares about the mean, which no rounding makes negative.
    scatter = (n - 1) * sd**2
    log_evidence = -0.5 * np.log(n + 1) + n / 2 * np.log((n + 1) * squares / (squares + n * scatter))
    p = float(min(1.0, np.exp(-log_evidence)))
    critical = compute_critical_t(n, alpha, anytime=True)
    half = critical * sd / float(np.sqrt(n)) if np.isfinite(critical) else np.inf
    return AnytimeDifference(n, mean, mean - half, mean + half, p)


def run_max_t_test(differences: Array, *, level: float) -> list[FamilyDifference]:
    """Paired differences (tests, seeds), NaN where a test lacks a seed, judged as one family at `level`.

    p is the share of sign flips of whole seeds whose largest |t| of all tests reaches a test's own
    (single-step maximum): exact where differences are symmetric about zero, whatever their dependence. All
    flips are tried up to `EXACT_UP_TO` seeds, else `SIGN_FLIPS` drawn ones. Differences less their mean are
    flipped as well, because large effects hide the tails of the others' errors: the larger p and the wider
    interval count, and p is at most `level` exactly where the interval excludes zero. Each row needs two
    values or more.
    Source: Westfall and Young, Resampling-Based Multiple Testing (1993), chapter 2.
    """
    present = ~np.isnan(differences)
    counts = present.sum(axis=1)
    values = np.where(present, differences, 0.0)
    means = values.sum(axis=1) / counts
    centred = np.where(present, values - means[:, None], 0.0)
    signs = _draw_signs(differences.shape[1])
    # The largest |t| of each signing, of the differences as they are and less their mean.
    largest = np.zeros((2, len(signs)))
    for maxima, rows in zip(largest, (values, centred), strict=True):
        for row, n in zip(rows, counts, strict=True):
            np.maximum(maxima, _compute_t(signs @ row, float(row @ row), n), out=maxima)
    largest.sort(axis=1)
    # The largest value that more than `level` of the signings reach; what lies above it is called.
    critical = float(largest[:, -1 - int(level * len(signs) + 1e-9)].max())
    results = []
    for row, centred_row, mean, n in zip(values, centred, means.tolist(), counts, strict=True):
        t = float(_compute_t(row.sum(), float(row @ row), n))
        # Values of t that are equal on paper differ in their last bits by the order of adding.
        reached = len(signs) - min(np.searchsorted(maxima, t * (1 - 1e-9)) for maxima in largest)
        p = float(reached / len(signs))
        error = float(np.sqrt(centred_row @ centred_row / (n * (n - 1)))) if t < np.inf else 0.0
        half = critical * error if error else 0.0
        # Ties aside, the two agree already.
        if p > level:
            half = max(half, abs(mean))
        results.append(FamilyDifference(mean, mean - half, mean + half, p))
    return results


def apply_holm_correction(p_values: Sequence[float]) -> list[float]:
    """`p_values` corrected for their number, in their order, so that any of them below 0.05 may be called.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statistics 6 (1979).
    """
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def compute_detectable_difference(
    sd: float, pairs: int, *, level: float = ALPHA, anytime: bool = False
) -> float:
    """The true mean difference that `run_max_t_test` at `level` finds with 80 % probability.

    In the unit of `sd`, the standard deviation of the differences within the `pairs` (two or more). Solved
    for the noncentrality of Student's t; the far tail, below 1e-6 at this power, is left out. Fewer than ten
    pairs have so few sign flips that they need a larger difference than a t test does. With `anytime` of the
    interval of `anytime_difference` at this number of pairs, infinite where that is the whole line.
    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2.
    """
    critical = compute_critical_t(pairs, level, anytime=anytime)
    if not np.isfinite(critical):
        return np.inf
    factor = 1.0 if anytime else FEW_SIGN_FLIPS.get(max(pairs, min(FEW_SIGN_FLIPS)), 1.0)
    return factor * float(nctdtrinc(pairs - 1, 1 - POWER, critical)) * sd / float(np.sqrt(pairs))


def compute_required_pairs(
    difference: float, sd: float, *, level: float = ALPHA, anytime: bool = False
) -> int:
    """The fewest pairs (at least two) whose `compute_detectable_difference` is at most `difference` (> 0)."""
    enough = 2
    while compute_detectable_difference(sd, enough, level=level, anytime=anytime) > difference:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if compute_detectable_difference(sd, middle, level=level, anytime=anytime) > difference:
            too_few = middle
        else:
            enough = middle
    return enough


def compute_noether_pairs(superiority: float, *, level: float = ALPHA, power: float = POWER) -> int:
    """How many pairs show with probability `power` that one value is more often the higher than the other.

    By a two-sided sign test at `level`, where it is the higher in a share `superiority` of all pairs.
    Source: Noether, Sample Size Determination for Some Common Nonparametric Tests, J. American Statistical
    Association 82 (1987), section 2.
    """
    quantiles = ndtri(1 - level / 2) + ndtri(power)
    return int(np.ceil((quantiles / (2 * (superiority - 0.5))) ** 2))


def compute_share_interval(count: float, n: int) -> Interval:
    """The 95 % interval of a probability from `count` of `n` independent cases, ties counting a half.

    Exact: it covers the true one in at least 95 % of samples.
    Source: Clopper and Pearson, The Use of Confidence or Fiducial Limits, Biometrika 26 (1934).
    """
    tail = (1 - CONFIDENCE) / 2
    low = betaincinv(count, n - count + 1, tail) if count > 0 else 0.0
    return Interval(float(low), float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0)


def compute_sd_interval(sd: float, n: int) -> Interval:
    """The 95 % interval of a normal law's standard deviation, from that of `n` (two or more) values."""
    low, high = (float(chdtri(n - 1, tail)) for tail in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(sd * float(np.sqrt((n - 1) / low)), sd * float(np.sqrt((n - 1) / high)))


def run_two_one_sided_tests(mean: float, sd: float, n: int, *, margin: float) -> float:
    """The p of a test whether `n` differences of that mean and standard deviation are within `margin` (TOST).

    The larger of those of two one-sided paired t tests, that the true difference is below -margin and that it
    is above +margin; below 0.05 exactly where the 90 % interval lies within the margin.
    Source: Schuirmann, A Comparison of the Two One-Sided Tests Procedure and the Power Approach, J.
    Pharmacokinetics and Biopharmaceutics 15 (1987).
    """
    beyond = abs(mean) - margin
    return float(stdtr(n - 1, beyond / (sd / np.sqrt(n)))) if sd else float(beyond >= 0)


def compute_proportion_standard_error(share: float, n: int) -> float:
    """The standard error of a share seen in `n` independent cases: of a test accuracy, say."""
    return float(np.sqrt(share * (1 - share) / n))


def compute_two_way_clustered_interval(baseline: Sequence[bytes], variant: Sequence[bytes]) -> Interval:
    """The 95 % interval of the mean difference in accuracy for new pairs and new cases alike, as fractions.

    Two or more pairs of models on the same cases: packed bits as in `models.mcnemar`, a multiple of
    eight of them.
    Pairs and cases are crossed: the variances of the mean over pairs and over cases add up, less what both
    contain. It is never narrower than the paired t interval, which stands for these cases only.
    Source: Cameron, Gelbach and Miller, Robust Inference with Multiway Clustering, J. Business and Economic
    Statistics 29 (2011).
    """
    # Shape (pairs, cases): 1 where only the variant is right, -1 where only the baseline is.
    differences = _unpack_bits(variant) - _unpack_bits(baseline)
    pairs, cases = differences.shape
    mean = float(differences.mean())
    of_pairs = differences.mean(axis=1).var(ddof=1) / pairs
    of_cases = differences.mean(axis=0).var(ddof=1) / cases
    of_both = differences.var() / differences.size
    variance = max(of_pairs, of_pairs + of_cases - of_both)
    half = _compute_half_width(float(np.sqrt(variance * pairs)), pairs, CONFIDENCE)
    return Interval(mean - half, mean + half)


def compute_critical_t(n: int, level: float, *, anytime: bool = False) -> float:
    """The |t| of n values beyond which their mean differs from zero at `level`; infinite where none does."""
    if not anytime:
        return float(stdtrit(n - 1, 1 - level / 2))
    ratio = float((np.sqrt(n + 1) / level) ** (2 / n))
    denominator = ratio * n - (n + 1) * (ratio - 1)
    return float(np.sqrt((n + 1) * (n - 1) * (ratio - 1) / denominator)) if denominator > 0 else float("inf")


def _unpack_bits(answers: Sequence[bytes]) -> NDArray[np.int8]:
    bits = np.unpackbits(np.frombuffer(b"".join(answers), np.uint8)).view(np.int8)
    return bits.reshape(len(answers), -1)


def _draw_signs(n: int) -> Array:
    """Signs of n values, shape (signings, n), the first all positive; flipping all of them changes no |t|."""
    if n <= EXACT_UP_TO:
        bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, (SIGN_FLIPS + 1, n))
        bits[0] = 0
    return (1 - 2 * bits).astype(np.float64)


def _compute_t(sums: Any, squares: float, n: int) -> Any:
    """|t| of n values from their sum and sum of squares; infinite without scatter, 0 where all are 0."""
    scatter = n * squares - np.square(sums)
    # Rounding leaves a scatter of some last bits where there is none.
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(scatter > 1e-10 * n * squares, np.abs(sums) / np.sqrt(scatter / (n - 1)), np.inf)
    return np.where(squares == 0, 0.0, t)


def _compute_sd(array: Array) -> float:
    # Equal values have no scatter, though their computed mean may miss them by a last bit.
    return 0.0 if np.ptp(array) == 0 else float(array.std(ddof=1))


def _compute_half_width(sd: float, n: int, confidence: float) -> float:
    return compute_critical_t(n, 1 - confidence) * sd / float(np.sqrt(n))
