"""Statistics of a paired comparison: pure functions on arrays.

Values are one number a seed. In pairs, both models of a pair share the seed: data split, initial weights,
batch order. Pairing takes what they share out of the difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, nctdtrinc, stdtr, stdtrit

CONFIDENCE = 0.95
ALPHA = 0.05
"""How often chance alone may make a report call something different."""
POWER = 0.8
"""With which probability a difference is summary that is called detectable."""
# 2^20 sums are 8 MB and 20 ms; beyond, the distribution is sampled.
EXACT_UP_TO = 20
_SAMPLES = 20_000
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
    superiority: float | None


@dataclass(frozen=True)
class TwoOneSidedTests:
    """Of an equivalence within a margin: the 90 % interval of the mean difference, and the larger p."""

    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Interval:
    """Where a true value probably lies."""

    low: float
    high: float


@dataclass(frozen=True)
class Discordance:
    """Cases that only one of two models gets right, and McNemar's exact p."""

    only_baseline: int
    only_variant: int
    p: float


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
    half = _compute_half_width(sd, array.size, CONFIDENCE)
    return Estimate(array.size, mean, sd, mean - half, mean + half)


def compute_paired_difference(baseline: Sequence[float], variant: Sequence[float]) -> PairedDifference | None:
    """`variant` minus `baseline`, pair by pair; None without pairs.

    The 95 % interval and `t_p` are the paired t test's (Student 1908); `sign_flip_p` is the exact test below.
    `d` is the mean difference in standard deviations of the differences (Cohen's d_z; Cohen, Statistical
    Power Analysis for the Behavioral Sciences, 1988). `superiority` is the share of pairs in which the
    variant's value is the higher, half of each tie counted (Grissom and Kim, Effect Sizes for Research).

    Raises:
        ValueError: the two do not have the same length.
    """
    if len(baseline) != len(variant):
        raise ValueError("pairs need as many values on either side")
    differences = _compute_differences(np.asarray(baseline, np.float64), np.asarray(variant, np.float64))
    summary = estimate(differences.tolist())
    if summary is None:
        return None
    return PairedDifference(
        n=summary.n,
        mean=summary.mean,
        sd=summary.sd,
        low=summary.low,
        high=summary.high,
        t_p=None if summary.sd is None else _compute_paired_t_p(summary.mean, summary.sd, summary.n),
        sign_flip_p=None if summary.sd is None else compute_sign_flip_p(differences),
        d=summary.mean / summary.sd if summary.sd else None,
        superiority=None if summary.sd is None else float(np.mean(np.sign(differences) / 2 + 0.5)),
    )


def compute_sign_flip_p(differences: Sequence[float] | Array) -> float | None:
    """Two-sided p of the sign-flip permutation test of the mean difference; None without differences.

    Where nothing distinguishes the two models, each difference could as well have the other sign: p is the
    share of all 2^n signings whose sum is at least as far from zero. Exact for up to 20 pairs; beyond, from
    20,000 signings drawn with a fixed seed, counting the observed one (Phipson and Smyth, 2010).
    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    array = np.asarray(differences, dtype=np.float64)
    if not array.size:
        return None
    observed = abs(float(array.sum()))
    # Sums that are equal on paper differ in their last bits by the order of adding.
    threshold = observed - 1e-9 * float(np.abs(array).sum())
    if array.size <= EXACT_UP_TO:
        return float(np.mean(np.abs(_compute_signed_sums(array)) >= threshold))
    sums = np.full(_SAMPLES, array.sum())
    generator = np.random.default_rng(0)
    for value in array:
        turned = np.unpackbits(np.frombuffer(generator.bytes(_SAMPLES // 8), np.uint8))
        sums -= 2 * value * turned
    return float((1 + np.count_nonzero(np.abs(sums) >= threshold)) / (1 + _SAMPLES))


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


def compute_detectable_difference(sd: float, pairs: int, *, level: float = ALPHA) -> float:
    """The true mean difference that a two-sided paired t test at `level` finds with 80 % probability.

    In the unit of `sd`, the standard deviation of the differences within the `pairs` (two or more). Solved
    for the noncentrality of Student's t; the far tail, below 1e-6 at this power, is left out.
    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2.
    """
    critical = stdtrit(pairs - 1, 1 - level / 2)
    return float(nctdtrinc(pairs - 1, 1 - POWER, critical)) * sd / float(np.sqrt(pairs))


def compute_required_pairs(difference: float, sd: float, *, level: float = ALPHA) -> int:
    """The fewest pairs (at least two) whose `compute_detectable_difference` is at most `difference` (> 0)."""
    enough = 2
    while compute_detectable_difference(sd, enough, level=level) > difference:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if compute_detectable_difference(sd, middle, level=level) > difference:
            too_few = middle
        else:
            enough = middle
    return enough


def run_two_one_sided_tests(mean: float, sd: float, n: int, *, margin: float) -> TwoOneSidedTests:
    """Whether `n` differences of that mean and standard deviation stay within `margin` of zero (TOST).

    p is of the larger of two one-sided paired t tests, that the true difference is below -margin and that it
    is above +margin; it is below 0.05 exactly where the 90 % interval lies within the margin.
    Source: Schuirmann, A Comparison of the Two One-Sided Tests Procedure and the Power Approach, J.
    Pharmacokinetics and Biopharmaceutics 15 (1987).
    """
    half = _compute_half_width(sd, n, 1 - 2 * ALPHA)
    beyond = abs(mean) - margin
    p = float(stdtr(n - 1, beyond / (sd / np.sqrt(n)))) if sd else float(beyond >= 0)
    return TwoOneSidedTests(mean - half, mean + half, p)


def run_mcnemar_test(baseline: bytes, variant: bytes) -> Discordance:
    """McNemar's test of two models on the same cases: one bit a case, set where the model is right.

    Where both models were as good, a case that only one gets right would fall to either as a coin does; p is
    the exact two-sided binomial one. It speaks of these two trained models, not of how they were trained.
    Source: McNemar, Note on the Sampling Error of the Difference between Correlated Proportions,
    Psychometrika 12 (1947).

    Raises:
        ValueError: the two do not have the same length.
    """
    if len(baseline) != len(variant):
        raise ValueError("both models must have answered the same cases")
    first, second = np.frombuffer(baseline, np.uint8), np.frombuffer(variant, np.uint8)
    only_baseline = int(np.bitwise_count(first & ~second).sum())
    only_variant = int(np.bitwise_count(second & ~first).sum())
    fewer, cases = min(only_baseline, only_variant), only_baseline + only_variant
    return Discordance(only_baseline, only_variant, min(1.0, 2 * float(bdtr(fewer, cases, 0.5))))


def compute_proportion_standard_error(share: float, n: int) -> float:
    """The standard error of a share seen in `n` independent cases: of a test accuracy, say."""
    return float(np.sqrt(share * (1 - share) / n))


def compute_two_way_clustered_interval(baseline: Sequence[bytes], variant: Sequence[bytes]) -> Interval:
    """The 95 % interval of the mean difference in accuracy for new pairs and new cases alike, as fractions.

    Two or more pairs of models on the same cases: packed bits as in `run_mcnemar_test`, a multiple of
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


def _unpack_bits(answers: Sequence[bytes]) -> NDArray[np.int8]:
    bits = np.unpackbits(np.frombuffer(b"".join(answers), np.uint8)).view(np.int8)
    return bits.reshape(len(answers), -1)


def _compute_signed_sums(array: Array) -> Array:
    # The first sign stays: turning all signs gives the same distance from zero.
    sums = np.empty(2 ** (array.size - 1))
    sums[0] = array[0]
    done = 1
    for value in array[1:]:
        np.subtract(sums[:done], value, out=sums[done : 2 * done])
        sums[:done] += value
        done *= 2
    return sums


def _compute_differences(baseline: Array, variant: Array) -> Array:
    # What is equal on paper differs in its last bits: 0.92 - 0.90 is not 0.93 - 0.91. Twelve digits are kept,
    # lest such bits pass for a scatter, beside which any difference is large.
    largest = max(np.abs(baseline).max(initial=0), np.abs(variant).max(initial=0))
    digits = 12 - int(np.ceil(np.log10(largest))) if largest else 0
    return np.round(variant - baseline, digits)


def _compute_paired_t_p(mean: float, sd: float, n: int) -> float | None:
    if sd == 0:
        # Without any scatter the t statistic does not exist; without any difference there is none to find.
        return 1.0 if mean == 0 else None
    return float(2 * stdtr(n - 1, -abs(mean) / (sd / np.sqrt(n))))


def _compute_sd(array: Array) -> float:
    # Equal values have no scatter, though their computed mean may miss them by a last bit.
    return 0.0 if np.ptp(array) == 0 else float(array.std(ddof=1))


def _compute_half_width(sd: float, n: int, confidence: float) -> float:
    return float(stdtrit(n - 1, 0.5 + confidence / 2)) * sd / float(np.sqrt(n))
