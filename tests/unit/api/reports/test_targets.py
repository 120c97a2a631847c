"""Medians over seeds of which some never reach the target."""

import math

import numpy as np
import pytest

from api.reports.targets import compute_median

NEVER = math.inf


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([3.0], (3, None, None)),
        ([2.0, 4.0], (3, None, None)),
        ([2.0, NEVER], (None, None, None)),
        ([5.0, 1, 3, 2, 4, 6], (3.5, 1, 6)),
        ([5.0, 1, 3, 2, NEVER, 6], (4, 1, None)),
        ([5.0, 1, NEVER, NEVER, NEVER, NEVER], (None, 1, None)),
        ([NEVER] * 7, (None, None, None)),
        ([*map(float, range(1, 10))], (5, 2, 8)),
    ],
)
def test_the_median_counts_never_as_more_than_any_number(
    values: list[float], median: tuple[float | None, ...]
) -> None:
    result = compute_median(values)
    assert (result.value, result.low, result.high) == median


@pytest.mark.parametrize("n", [6, 10, 17])
def test_its_interval_holds_the_true_median_in_95_percent(n: int) -> None:
    samples = np.random.default_rng(0).exponential(size=(2000, n))
    medians = [compute_median(sample) for sample in samples.tolist()]
    covered = [median.low <= math.log(2) <= median.high for median in medians if median.low and median.high]
    assert len(covered) == 2000
    assert np.mean(covered) >= 0.94
