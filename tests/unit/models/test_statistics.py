"""The statistics against scipy and statsmodels, and against the worked examples of their sources."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from models.statistics import (
    apply_holm_correction,
    compute_detectable_difference,
    compute_paired_difference,
    compute_proportion_standard_error,
    compute_required_pairs,
    compute_sign_flip_p,
    compute_two_way_clustered_interval,
    estimate,
    run_mcnemar_test,
    run_two_one_sided_tests,
)

# Student's own example (1908): hours of sleep gained by ten patients with two drugs.
SLEEP_A = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_B = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# Darwin's maize, as Fisher gives it (The Design of Experiments, chapter 3): how many eighths of an inch the
# crossed plant of each pair stands above the self-fertilized one.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def packed(right: Sequence[bool]) -> bytes:
    return np.packbits(np.array(right, dtype=bool)).tobytes()


def test_students_sleep_data() -> None:
    result = compute_paired_difference(SLEEP_A, SLEEP_B)
    assert result is not None
    assert result.mean == pytest.approx(1.58)
    assert result.sd == pytest.approx(1.23, abs=0.005)
    assert (result.low, result.high) == (pytest.approx(0.7001, abs=1e-4), pytest.approx(2.4599, abs=1e-4))
    assert result.t_p == pytest.approx(0.002833, abs=1e-6)
    # Nine differences are positive and one is zero: of 1,024 signings, 2 * 2 reach the sum.
    assert result.sign_flip_p == 4 / 1024
    assert result.d == pytest.approx(1.58 / result.sd)
    assert result.superiority == (9 + 0.5) / 10


def test_darwins_maize_data() -> None:
    # Fisher, section 21: of 32,768 signings 863 have a sum of 314 or more, and as many one of -314 or less.
    assert compute_sign_flip_p(MAIZE) == 2 * 863 / 2**15
    result = compute_paired_difference([0.0] * 15, MAIZE)
    assert result is not None
    # And t = 2.148, which 4.97 % of samples exceed.
    assert result.t_p == pytest.approx(0.0497, abs=5e-5)
    assert result.superiority == 13 / 15


@pytest.mark.parametrize("n", [2, 3, 10, 30])
def test_the_t_test_equals_scipys(n: int) -> None:
    generator = np.random.default_rng(n)
    baseline, variant = generator.normal(size=(2, n))
    result = compute_paired_difference(baseline.tolist(), variant.tolist())
    theirs = stats.ttest_rel(variant, baseline)
    interval = theirs.confidence_interval(0.95)
    assert result is not None
    assert result.t_p == pytest.approx(theirs.pvalue)
    assert (result.low, result.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_the_sign_flip_test_counts_every_sign_assignment(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.5, 1, size=n)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product([1, -1], repeat=n)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert compute_sign_flip_p(differences) == pytest.approx(expected)


def test_the_sign_flip_test_equals_scipys_and_samples_for_many_pairs() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, size=24)
    theirs = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=100_000,
        vectorized=True,
        rng=np.random.default_rng(1),
    )
    assert compute_sign_flip_p(differences) == pytest.approx(theirs.pvalue, abs=0.01)
    assert compute_sign_flip_p(differences) == compute_sign_flip_p(differences)
    assert compute_sign_flip_p(differences[:12]) == pytest.approx(
        stats.permutation_test((differences[:12],), np.mean, permutation_type="samples").pvalue
    )


def test_five_pairs_cannot_reach_five_percent_and_six_can() -> None:
    assert compute_sign_flip_p([1.0] * 5) == 2 / 32
    assert compute_sign_flip_p([1.0] * 6) == 2 / 64


def test_statistics_of_too_few_values_are_none() -> None:
    assert estimate([]) is None
    assert compute_paired_difference([], []) is None
    assert compute_sign_flip_p([]) is None
    alone = estimate([0.98])
    assert alone is not None
    assert (alone.n, alone.mean, alone.sd, alone.low, alone.high) == (1, 0.98, None, None, None)
    pair = compute_paired_difference([1.0], [3.0])
    assert pair is not None
    assert (pair.mean, pair.t_p, pair.sign_flip_p) == (2.0, None, None)


def test_a_model_does_not_differ_from_itself() -> None:
    result = compute_paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert result is not None
    assert (result.mean, result.low, result.high, result.t_p, result.sign_flip_p, result.d) == (
        0,
        0,
        0,
        1,
        1,
        None,
    )


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        compute_paired_difference([1.0], [1.0, 2.0])


def test_equal_differences_are_equal_however_they_are_rounded() -> None:
    baseline = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95]
    result = compute_paired_difference(baseline, [value + 0.02 for value in baseline])
    assert result is not None
    assert (result.sd, result.t_p, result.d, result.superiority) == (0.0, None, None, 1.0)
    assert result.sign_flip_p == 2 / 64


@given(
    st.lists(st.integers(9000, 9999), min_size=2, max_size=12),
    st.sampled_from([1e-12, 1e-4, 1.0, 1e9]),
)
def test_the_unit_does_not_change_a_test(hits: list[int], unit: float) -> None:
    baseline, variant = hits, hits[::-1]
    plain = compute_paired_difference(baseline, variant)
    scaled = compute_paired_difference(
        [unit * value for value in baseline], [unit * value for value in variant]
    )
    assert plain is not None
    assert scaled is not None
    assert scaled.t_p == pytest.approx(plain.t_p)
    assert (scaled.sign_flip_p, scaled.superiority) == (plain.sign_flip_p, plain.superiority)


@pytest.mark.parametrize("pairs", [3, 6, 10, 30, 200])
@pytest.mark.parametrize("level", [0.05, 0.05 / 20])
def test_a_detectable_difference_has_80_percent_power(pairs: int, level: float) -> None:
    result = compute_detectable_difference(0.5, pairs, level=level)
    critical = stats.t.isf(level / 2, pairs - 1)
    noncentral = stats.nct(pairs - 1, result / 0.5 * np.sqrt(pairs))
    assert noncentral.sf(critical) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("pairs", [6, 10, 30, 200])
def test_the_detectable_difference_equals_statsmodels(pairs: int) -> None:
    theirs = TTestPower().solve_power(nobs=pairs, alpha=0.05, power=0.8)
    assert compute_detectable_difference(1.0, pairs) == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_cohens_small_medium_and_large_effects(effect: float, pairs: int) -> None:
    # As G*Power gives it for a two-sided paired t test at 5 % with a power of 80 %.
    assert compute_required_pairs(effect, 1.0) == pairs


@pytest.mark.parametrize("sd", [0.01, 0.1, 0.26, 1.0, 40.0])
def test_the_number_of_pairs_is_minimal(sd: float) -> None:
    needed = compute_required_pairs(0.2, sd, level=0.01)
    assert compute_detectable_difference(sd, needed, level=0.01) <= 0.2
    assert needed == 2 or compute_detectable_difference(sd, needed - 1, level=0.01) > 0.2
    assert compute_required_pairs(0.2, 0.0) == 2


def test_tosters_worked_example() -> None:
    # Lakens's package TOSTER keeps this example: mean 0.54 against 0.5, sd 1.2, n 100, bounds of 0.3 sd.
    result = run_two_one_sided_tests(0.04, 1.2, 100, margin=0.36)
    assert result.p == pytest.approx(0.004474619, abs=1e-9)
    assert (result.low, result.high) == (pytest.approx(-0.1592469), pytest.approx(0.2392469))


@given(st.floats(-0.5, 0.5), st.floats(0.01, 0.5), st.integers(2, 30))
def test_equivalence_equals_statsmodels_and_agrees_with_the_interval(mean: float, sd: float, n: int) -> None:
    noise = np.arange(n) - (n - 1) / 2
    differences = mean + sd * noise / noise.std(ddof=1)
    result = run_two_one_sided_tests(mean, sd, n, margin=0.2)
    assert result.p == pytest.approx(ttost_paired(differences, np.zeros(n), -0.2, 0.2)[0], abs=1e-9)
    assert (result.p < 0.05) == (result.low > -0.2 and result.high < 0.2)


def test_without_variance_equivalence_depends_on_the_difference_alone() -> None:
    assert run_two_one_sided_tests(0.1, 0.0, 6, margin=0.2).p == 0
    assert run_two_one_sided_tests(-0.2, 0.0, 6, margin=0.2).p == 1


def test_mcnemars_worked_example() -> None:
    # Agresti, Categorical Data Analysis, section 10.1: 1,600 voters asked twice about the prime minister.
    first = [True] * 794 + [True] * 150 + [False] * 86 + [False] * 570
    second = [True] * 794 + [False] * 150 + [True] * 86 + [False] * 570
    result = run_mcnemar_test(packed(first), packed(second))
    assert (result.only_baseline, result.only_variant) == (150, 86)
    # z = -4.17, of which a standard normal's two tails hold 0.00003.
    assert result.p == pytest.approx(2 * stats.norm.sf(4.17), rel=0.3)
    assert result.p == pytest.approx(stats.binomtest(86, 236).pvalue)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_equals_statsmodels(answers: list[tuple[bool, bool]]) -> None:
    first, second = zip(*answers, strict=True)
    result = run_mcnemar_test(packed(first), packed(second))
    table = [[sum(pair == (a, b) for pair in answers) for b in (True, False)] for a in (True, False)]
    assert (result.only_baseline, result.only_variant) == (table[0][1], table[1][0])
    if result.only_baseline + result.only_variant:
        assert result.p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
    else:
        assert result.p == 1


def test_mcnemar_needs_the_same_cases() -> None:
    with pytest.raises(ValueError, match="same cases"):
        run_mcnemar_test(b"\x00", b"\x00\x00")


def test_the_clustered_interval_equals_statsmodels() -> None:
    first, second = np.random.default_rng(0).random((2, 6, 40)) < [[[0.8]], [[0.7]]]
    differences = second.astype(float) - first.astype(float)
    pair, case = np.indices(differences.shape)
    covariances = []
    for groups in (pair, case, pair * 40 + case):
        fitted = OLS(differences.ravel(), np.ones(differences.size)).fit()
        robust = fitted.get_robustcov_results("cluster", groups=groups.ravel(), use_correction=False)
        covariances.append(robust.cov_params()[0, 0])
    # statsmodels divides by n where an unbiased variance takes n - 1.
    variance = covariances[0] * 6 / 5 + covariances[1] * 40 / 39 - covariances[2]
    half = stats.t.isf(0.025, 5) * np.sqrt(variance)
    result = compute_two_way_clustered_interval(
        [packed(row) for row in first], [packed(row) for row in second]
    )
    assert (result.low + result.high) / 2 == pytest.approx(differences.mean())
    assert (result.high - result.low) / 2 == pytest.approx(half)


def test_the_clustered_interval_is_never_narrower() -> None:
    first, second = np.random.default_rng(1).random((2, 5, 800)) < 0.9
    result = compute_two_way_clustered_interval(
        [packed(row) for row in first], [packed(row) for row in second]
    )
    of_these = compute_paired_difference(first.mean(axis=1).tolist(), second.mean(axis=1).tolist())
    assert of_these is not None
    assert of_these.low is not None
    assert of_these.high is not None
    assert result.low <= of_these.low + 1e-12
    assert result.high >= of_these.high - 1e-12


def test_holms_worked_example() -> None:
    # Four tests: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.04 * 1, then never falling.
    assert apply_holm_correction([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert apply_holm_correction([0.5, 0.9]) == [1.0, 1.0]
    assert apply_holm_correction([]) == []


@pytest.fixture(scope="module")
def _no_collection_of_garbage() -> Iterator[None]:
    """statsmodels' Holm collects garbage at each call: half a second where TensorFlow is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)
        yield


@pytest.mark.usefixtures("_no_collection_of_garbage")
@given(st.lists(st.floats(0, 1), min_size=1, max_size=24))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    assert apply_holm_correction(p_values) == pytest.approx(
        multipletests(p_values, method="holm")[1].tolist()
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = apply_holm_correction(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, corrected, strict=True))
    assert corrected[int(np.argmin(p_values))] == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    by_p = [after for _, after in sorted(zip(p_values, corrected, strict=True))]
    assert by_p == sorted(by_p)


def test_the_sampling_error_of_the_test_set() -> None:
    # The known figure: 1.6 % errors on 10,000 images are uncertain by 0.125 points.
    assert 100 * compute_proportion_standard_error(0.984, 10_000) == pytest.approx(0.125, abs=0.001)
