"""Variances of a crossed design: exact where effects only add up, unbiased where there is noise."""

import numpy as np
import pytest

from models.variance_components import separate_variances


def test_effects_that_only_add_up_leave_nothing_over() -> None:
    rows, columns = np.array([0.0, 1.0, 5.0]), np.array([2.0, 3.0, 7.0, 8.0])
    row, column, rest = separate_variances(rows[:, None] + columns)
    assert (row, column) == pytest.approx((rows.var(ddof=1), columns.var(ddof=1)))
    assert rest == pytest.approx(0.0, abs=1e-12)


def test_the_estimates_are_right_on_average() -> None:
    generator = np.random.default_rng(0)
    draws = 4000
    planted = (4.0, 0.25, 1.0)
    row, column, rest = (
        np.sqrt(variance) * generator.normal(size=shape)
        for variance, shape in zip(planted, [(3, 1, draws), (1, 5, draws), (3, 5, draws)], strict=True)
    )
    estimates = [float(variances.mean()) for variances in separate_variances(row + column + rest)]
    assert estimates == pytest.approx(planted, rel=0.1)
