"""The statistics against scipy, and against examples that were worked by hand or published."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.statistics import (
    estimate,
    holm,
    paired_difference,
    proportion_standard_error,
    sign_flip_p,
)

# Student's own example (1908): hours of sleep gained by ten patients with two drugs.
SLEEP_A = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_B = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_sleep() -> None:
    found = paired_difference(SLEEP_A, SLEEP_B)
    assert found is not None
    assert found.mean == pytest.approx(1.58)
    assert found.sd == pytest.approx(1.23, abs=0.005)
    assert (found.low, found.high) == (pytest.approx(0.7001, abs=1e-4), pytest.approx(2.4599, abs=1e-4))
    assert found.t_p == pytest.approx(0.002833, abs=1e-6)
    # Nine differences are positive and one is zero: of 1,024 signings, 2 * 2 reach the sum.
    assert found.sign_flip_p == 4 / 1024
    assert found.d == pytest.approx(1.58 / found.sd)


@pytest.mark.parametrize("n", [2, 3, 10, 30])
def test_the_t_test_is_scipys(n: int) -> None:
    generator = np.random.default_rng(n)
    baseline, variant = generator.normal(size=(2, n))
    found = paired_difference(baseline.tolist(), variant.tolist())
    theirs = stats.ttest_rel(variant, baseline)
    interval = theirs.confidence_interval(0.95)
    assert found is not None
    assert found.t_p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_the_sign_flip_test_counts_every_signing(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.5, 1, size=n)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product([1, -1], repeat=n)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_p(differences) == pytest.approx(expected)


def test_the_sign_flip_test_is_scipys_and_goes_on_by_sampling() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, size=24)
    theirs = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=100_000,
        vectorized=True,
        rng=np.random.default_rng(1),
    )
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue, abs=0.01)
    assert sign_flip_p(differences) == sign_flip_p(differences)
    assert sign_flip_p(differences[:12]) == pytest.approx(
        stats.permutation_test((differences[:12],), np.mean, permutation_type="samples").pvalue
    )


def test_five_pairs_cannot_reach_five_percent_and_six_can() -> None:
    assert sign_flip_p([1.0] * 5) == 2 / 32
    assert sign_flip_p([1.0] * 6) == 2 / 64


def test_what_too_few_values_cannot_say_is_none() -> None:
    assert estimate([]) is None
    assert paired_difference([], []) is None
    assert sign_flip_p([]) is None
    alone = estimate([0.98])
    assert alone is not None
    assert (alone.n, alone.mean, alone.sd, alone.low, alone.high) == (1, 0.98, None, None, None)
    pair = paired_difference([1.0], [3.0])
    assert pair is not None
    assert (pair.mean, pair.t_p, pair.sign_flip_p) == (2.0, None, None)


def test_a_model_against_itself_differs_in_nothing() -> None:
    found = paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert found is not None
    assert (found.mean, found.low, found.high, found.t_p, found.sign_flip_p, found.d) == (0, 0, 0, 1, 1, None)


def test_pairs_need_partners() -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([1.0], [1.0, 2.0])


def test_holms_worked_example() -> None:
    # Four tests: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.04 * 1, then never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, corrected, strict=True))
    assert corrected[int(np.argmin(p_values))] == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    by_p = [after for _, after in sorted(zip(p_values, corrected, strict=True))]
    assert by_p == sorted(by_p)


def test_the_test_sets_own_noise() -> None:
    # The known figure: 1.6 % errors on 10,000 images are uncertain by 0.125 points.
    assert 100 * proportion_standard_error(0.984, 10_000) == pytest.approx(0.125, abs=0.001)
