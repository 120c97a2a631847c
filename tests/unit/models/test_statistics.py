"""The statistics against scipy and statsmodels, and against the worked examples of their sources."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from models.mcnemar import run_mcnemar_test
from models.statistics import (
    SIGN_FLIPS,
    anytime_difference,
    apply_holm_correction,
    compute_detectable_difference,
    compute_noether_pairs,
    compute_paired_difference,
    compute_proportion_standard_error,
    compute_required_pairs,
    compute_sd_interval,
    compute_share_interval,
    compute_two_way_clustered_interval,
    estimate,
    run_max_t_test,
    run_two_one_sided_tests,
)

# Student's own example (1908): hours of sleep gained by ten patients with two drugs.
SLEEP_A = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_B = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# Darwin's maize, as Fisher gives it (The Design of Experiments, chapter 3): how many eighths of an inch the
# crossed plant of item pair stands above the self-fertilized one.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def packed(right: Sequence[bool]) -> bytes:
    return np.packbits(np.array(right, dtype=bool)).tobytes()


def test_students_sleep() -> None:
    result = compute_paired_difference(SLEEP_A, SLEEP_B)
    assert result is not None
    assert result.mean == pytest.approx(1.58)
    assert result.sd == pytest.approx(1.23, abs=0.005)
    assert (result.low, result.high) == (pytest.approx(0.7001, abs=1e-4), pytest.approx(2.4599, abs=1e-4))
    assert result.t_p == pytest.approx(0.002833, abs=1e-6)
    assert result.d == pytest.approx(1.58 / result.sd)
    assert result.superiority == (9 + 0.5) / 10


def test_darwins_maize() -> None:
    result = compute_paired_difference([0.0] * 15, MAIZE)
    assert result is not None
    # And t = 2.148, which 4.97 % of samples exceed.
    assert result.t_p == pytest.approx(0.0497, abs=5e-5)
    assert result.superiority == 13 / 15


def test_two_values_have_a_scatter_and_no_interval() -> None:
    summary = estimate([0.25, 0.5])
    assert summary is not None
    assert summary.sd == pytest.approx(0.25 / 2**0.5)
    assert (summary.low, summary.high) == (None, None)


@pytest.mark.parametrize("n", [3, 10, 30])
def test_the_t_test_is_scipys(n: int) -> None:
    generator = np.random.default_rng(n)
    baseline, variant = generator.normal(size=(2, n))
    result = compute_paired_difference(baseline.tolist(), variant.tolist())
    theirs = stats.ttest_rel(variant, baseline)
    interval = theirs.confidence_interval(0.95)
    assert result is not None
    assert result.t_p == pytest.approx(theirs.pvalue)
    assert (result.low, result.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def reach(values: Sequence[float], t: float) -> float:
    """By brute force: the share of all sign flips of `values` whose |t| is at least `t`."""
    flipped = [np.array(signs) * values for signs in itertools.product([1, -1], repeat=len(values))]
    with np.errstate(divide="ignore"):
        result = [abs(row.mean()) / (row.std(ddof=1) / np.sqrt(row.size)) for row in flipped]
    return float(np.mean(np.array(result) >= t * (1 - 1e-9)))


def test_one_test_by_sign_flips_is_darwins_as_fisher_computed_it() -> None:
    # Fisher, section 21: of 32,768 signings 863 have a sum of 314 or more, and as many one of -314 or less.
    # |t| grows with the distance of the sum from zero, so that its flips are as many.
    (result,) = run_max_t_test(np.array([MAIZE], dtype=float), level=0.05)
    assert result.mean == pytest.approx(np.mean(MAIZE))
    assert result.p >= 2 * 863 / 2**15
    assert result.p == pytest.approx(2 * 863 / 2**15, abs=0.01)


@pytest.mark.parametrize("n", [3, 6, 9])
def test_the_p_of_one_test_counts_every_sign_flip(n: int) -> None:
    values = np.random.default_rng(n).normal(0.8, 1, size=n)
    t = float(abs(values.mean()) / (values.std(ddof=1) / np.sqrt(n)))
    (result,) = run_max_t_test(values[None], level=0.05)
    assert result.p == pytest.approx(max(reach(values, t), reach(values - values.mean(), t)))


def test_a_family_is_judged_by_the_largest_t_of_each_flip() -> None:
    values = np.random.default_rng(0).normal(0.5, 1, size=(3, 8))
    result = run_max_t_test(values, level=0.05)
    errors = values.std(axis=1, ddof=1) / np.sqrt(8)
    t = abs(values.mean(axis=1)) / errors
    maxima = [
        np.sort(
            [
                max(abs(row.mean()) / (row.std(ddof=1) / np.sqrt(8)) for row in np.array(signs) * rows)
                for signs in itertools.product([1, -1], repeat=8)
            ]
        )
        for rows in (values, values - values.mean(axis=1, keepdims=True))
    ]
    expected = [max(np.mean(of_flips >= value * (1 - 1e-9)) for of_flips in maxima) for value in t]
    assert [one.p for one in result] == pytest.approx(expected)
    critical = max(of_flips[-1 - int(0.05 * 256)] for of_flips in maxima)
    for one, mean, error in zip(result, values.mean(axis=1), errors, strict=True):
        assert (one.low + one.high) / 2 == pytest.approx(mean)
        assert one.high - one.low >= 2 * critical * error - 1e-9


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(6, 18), st.integers(1, 5), st.floats(0, 2))
def test_p_and_interval_of_a_family_agree(seed: int, pairs: int, tests: int, effect: float) -> None:
    values = np.random.default_rng(seed).normal(effect, 1, size=(tests, pairs))
    for result in run_max_t_test(values, level=0.045):
        assert (result.p <= 0.045) == (result.low > 0 or result.high < 0)


def test_more_tests_only_raise_p_and_missing_seeds_are_left_out() -> None:
    values = np.random.default_rng(1).normal(0.8, 1, size=(4, 10))
    alone = run_max_t_test(values[:1], level=0.05)[0]
    together = run_max_t_test(values, level=0.05)[0]
    assert (together.p >= alone.p, together.mean) == (True, alone.mean)
    holes = values.copy()
    holes[0, 7:] = np.nan
    result = run_max_t_test(holes, level=0.05)[0]
    assert result.mean == pytest.approx(values[0, :7].mean())


def test_five_pairs_cannot_reach_five_percent_and_six_can() -> None:
    for pairs, p in ((5, 2 / 32), (6, 2 / 64)):
        (result,) = run_max_t_test(np.ones((1, pairs)), level=0.05)
        assert (result.p, result.mean) == (p, 1.0)


def test_many_pairs_are_flipped_by_draws_that_repeat_themselves() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, size=(1, 24))
    (result,) = run_max_t_test(values, level=0.05)
    theirs = stats.permutation_test(
        (values[0],),
        lambda rows, axis: abs(rows.mean(axis=axis)),
        permutation_type="samples",
        n_resamples=100_000,
        alternative="greater",
        rng=np.random.default_rng(1),
    )
    assert result.p == pytest.approx(theirs.pvalue, abs=0.01)
    assert run_max_t_test(values, level=0.05)[0] == result
    # The observed signing counts as one of those drawn (Phipson and Smyth 2010): p is never zero.
    (certain,) = run_max_t_test(values + 100, level=0.05)
    assert certain.p >= 1 / (SIGN_FLIPS + 1)


def test_what_differs_in_nothing_is_not_called() -> None:
    nothing, something = run_max_t_test(np.array([[0.0] * 6, [1.0, 2, 1, 2, 1, 2]]), level=0.045)
    assert (nothing.p, nothing.mean, nothing.low, nothing.high) == (1.0, 0.0, 0.0, 0.0)
    assert something.p <= 0.045
    # A mean of exactly zero has an interval all the same.
    (balanced,) = run_max_t_test(np.array([[1.0, -1, 2, -2, 3, -3]]), level=0.045)
    assert balanced.low < -1 < 1 < balanced.high


def test_an_anytime_interval_holds_the_means_that_its_evidence_does_not_refuse() -> None:
    values = np.array([0.3, 0.5, 0.1, 0.4, 0.6, 0.2, 0.35, 0.45])
    result = anytime_difference(values.tolist(), alpha=0.05)

    def evidence(mean: float) -> float:
        moved = values - mean
        n, total, squares = values.size, moved.sum(), np.square(moved).sum()
        return float(np.sqrt(1 / (n + 1)) * ((n + 1) * squares / ((n + 1) * squares - total**2)) ** (n / 2))

    assert result.p == pytest.approx(1 / evidence(0.0))
    assert (result.n, result.mean) == (8, pytest.approx(values.mean()))
    assert (evidence(result.low), evidence(result.high)) == (pytest.approx(20), pytest.approx(20))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.sampled_from([0.05, 0.005, 0.05 / 42]))
def test_p_and_interval_agree_at_every_look(values: list[float], alpha: float) -> None:
    result = anytime_difference(values, alpha=alpha)
    if abs(result.p - alpha) > 1e-9 and np.std(values) > 1e-6:
        assert (result.p < alpha) == (result.low > 0 or result.high < 0)


def test_an_anytime_interval_without_information_is_the_whole_line() -> None:
    for values, mean in (([], None), ([0.4], 0.4)):
        result = anytime_difference(values)
        assert (result.n, result.mean, result.low, result.high, result.p) == (
            len(values),
            mean,
            -np.inf,
            np.inf,
            1.0,
        )
    assert anytime_difference([0.4, 0.5]).high == np.inf
    same = anytime_difference([0.0] * 8)
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(("sd", "n"), [(1.0, 2), (0.3, 10), (2.0, 50)])
def test_the_interval_of_a_standard_deviation_is_that_of_chi_square(sd: float, n: int) -> None:
    result = compute_sd_interval(sd, n)
    law = stats.chi2(n - 1)
    assert result.low == pytest.approx(sd * np.sqrt((n - 1) / law.ppf(0.975)))
    assert result.high == pytest.approx(sd * np.sqrt((n - 1) / law.ppf(0.025)))


def test_more_pairs_are_needed_where_every_look_counts() -> None:
    fixed = compute_required_pairs(0.2, 0.2, level=0.05)
    anytime = compute_required_pairs(0.2, 0.2, level=0.05, anytime=True)
    assert fixed < anytime < 4 * fixed
    assert compute_detectable_difference(0.2, 3, level=0.001, anytime=True) == np.inf
    result = compute_detectable_difference(0.2, anytime, level=0.05, anytime=True)
    generator = np.random.default_rng(0)
    called = [
        anytime_difference(generator.normal(result, 0.2, size=anytime).tolist()).p <= 0.05
        for _ in range(2000)
    ]
    assert np.mean(called) == pytest.approx(0.8, abs=0.04)


def test_what_too_few_values_cannot_say_is_none() -> None:
    assert estimate([]) is None
    assert compute_paired_difference([], []) is None
    alone = estimate([0.98])
    assert alone is not None
    assert (alone.n, alone.mean, alone.sd, alone.low, alone.high) == (1, 0.98, None, None, None)
    pair = compute_paired_difference([1.0], [3.0])
    assert pair is not None
    assert (pair.mean, pair.t_p) == (2.0, None)


def test_a_model_against_itself_differs_in_nothing() -> None:
    result = compute_paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert result is not None
    assert (result.mean, result.low, result.high, result.t_p, result.d) == (0, 0, 0, 1, None)


def test_pairs_need_partners() -> None:
    with pytest.raises(ValueError, match="pairs"):
        compute_paired_difference([1.0], [1.0, 2.0])


def test_equal_differences_are_equal_however_they_are_rounded() -> None:
    baseline = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95]
    result = compute_paired_difference(baseline, [value + 0.02 for value in baseline])
    assert result is not None
    assert (result.sd, result.t_p, result.d, result.superiority) == (0.0, None, None, 1.0)


@given(
    st.lists(st.integers(9000, 9999), min_size=2, max_size=12),
    st.sampled_from([1e-12, 1e-4, 1.0, 1e9]),
)
def test_the_unit_changes_no_test(hits: list[int], unit: float) -> None:
    baseline, variant = hits, hits[::-1]
    plain = compute_paired_difference(baseline, variant)
    scaled = compute_paired_difference(
        [unit * value for value in baseline], [unit * value for value in variant]
    )
    assert plain is not None
    assert scaled is not None
    assert scaled.t_p == pytest.approx(plain.t_p)
    assert scaled.superiority == plain.superiority


@pytest.mark.parametrize("pairs", [3, 6, 9, 10, 30, 200])
@pytest.mark.parametrize("level", [0.05, 0.05 / 20])
def test_a_detectable_difference_has_80_percent_power(pairs: int, level: float) -> None:
    result = compute_detectable_difference(0.5, pairs, level=level)
    # Fewer pairs have too few sign flips for the power of a t test.
    result /= {3: 1.28, 6: 1.28, 9: 1.03}.get(pairs, 1)
    critical = stats.t.isf(level / 2, pairs - 1)
    noncentral = stats.nct(pairs - 1, result / 0.5 * np.sqrt(pairs))
    assert noncentral.sf(critical) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("pairs", [10, 30, 200])
def test_what_is_detectable_is_statsmodels(pairs: int) -> None:
    theirs = TTestPower().solve_power(nobs=pairs, alpha=0.05, power=0.8)
    assert compute_detectable_difference(1.0, pairs) == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_cohens_small_medium_and_large_effects(effect: float, pairs: int) -> None:
    # As G*Power gives it for a two-sided paired t test at 5 % with a power of 80 %.
    assert compute_required_pairs(effect, 1.0) == pairs


@pytest.mark.parametrize("sd", [0.01, 0.1, 0.26, 1.0, 40.0])
def test_no_fewer_pairs_would_do(sd: float) -> None:
    needed = compute_required_pairs(0.2, sd, level=0.01)
    assert compute_detectable_difference(sd, needed, level=0.01) <= 0.2
    assert needed == 2 or compute_detectable_difference(sd, needed - 1, level=0.01) > 0.2
    assert compute_required_pairs(0.2, 0.0) == 2


def test_tosters_worked_example() -> None:
    # Lakens's package TOSTER keeps this example: mean 0.54 against 0.5, sd 1.2, n 100, bounds of 0.3 sd.
    result = run_two_one_sided_tests(0.04, 1.2, 100, margin=0.36)
    assert result == pytest.approx(0.004474619, abs=1e-9)


@given(st.floats(-0.5, 0.5), st.floats(0.01, 0.5), st.integers(2, 30))
def test_equivalence_is_statsmodels_and_that_of_the_interval(mean: float, sd: float, n: int) -> None:
    noise = np.arange(n) - (n - 1) / 2
    differences = mean + sd * noise / noise.std(ddof=1)
    result = run_two_one_sided_tests(mean, sd, n, margin=0.2)
    assert result == pytest.approx(ttost_paired(differences, np.zeros(n), -0.2, 0.2)[0], abs=1e-9)
    half = stats.t.ppf(0.95, n - 1) * sd / np.sqrt(n)
    assert (result < 0.05) == (mean - half > -0.2 and mean + half < 0.2)


def test_without_scatter_equivalence_is_a_matter_of_size() -> None:
    assert run_two_one_sided_tests(0.1, 0.0, 6, margin=0.2) == 0
    assert run_two_one_sided_tests(-0.2, 0.0, 6, margin=0.2) == 1


@pytest.mark.parametrize(("count", "n"), [(0, 6), (1, 6), (5, 10), (29, 30), (30, 30)])
def test_the_interval_of_a_share_is_scipys(count: int, n: int) -> None:
    interval = compute_share_interval(count, n)
    expected = stats.binomtest(count, n).proportion_ci(method="exact")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_a_tie_counts_a_half_in_the_interval_of_superiority() -> None:
    result = compute_paired_difference(SLEEP_A, SLEEP_B)
    assert result is not None
    assert result.superiority_low is not None
    assert result.superiority_high is not None
    nine, ten = compute_share_interval(9, 10), compute_share_interval(10, 10)
    assert nine.low < result.superiority_low < ten.low
    assert nine.high < result.superiority_high < ten.high


def test_noethers_pairs_find_a_superiority_with_the_stated_power() -> None:
    # (1.960 + 0.842)^2 / (4 x 0.25^2)
    assert compute_noether_pairs(0.75) == 32
    # Bouthillier et al. have 29 for independent samples, one-sided, whose formula has 6 in place of 4.
    assert compute_noether_pairs(0.75, level=0.1, power=0.95) == np.ceil(28.86 * 6 / 4)
    n = compute_noether_pairs(0.7)
    p_values = np.array([stats.binomtest(count, n).pvalue for count in range(n + 1)])
    power = stats.binom(n, 0.7).pmf(np.arange(n + 1))[p_values <= 0.05].sum()
    assert power == pytest.approx(0.8, abs=0.05)


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
def test_mcnemar_is_statsmodels(answers: list[tuple[bool, bool]]) -> None:
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


def test_new_cases_are_statsmodels_two_way_clusters() -> None:
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


def test_new_cases_never_make_more_certain() -> None:
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
    """statsmodels' Holm collects garbage at item call: half a second where TensorFlow is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)
        yield


@pytest.mark.usefixtures("_no_collection_of_garbage")
@given(st.lists(st.floats(0, 1), min_size=1, max_size=24))
def test_holm_is_statsmodels(p_values: list[float]) -> None:
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


def test_the_test_sets_own_noise() -> None:
    # The known figure: 1.6 % errors on 10,000 images are uncertain by 0.125 points.
    assert 100 * compute_proportion_standard_error(0.984, 10_000) == pytest.approx(0.125, abs=0.001)
