"""Curves along an axis: where the mean gain crosses zero."""

import numpy as np
import pytest

from models.axis_curves import Crossing, ErrorCurve, find_crossing, find_possible_best, fit_error_curve

POSITIONS = np.array([0.0, 1.0, 2.0])


def test_a_crossing_lies_where_the_mean_is_zero_and_within_its_interval() -> None:
    noise = np.array([[-0.1], [0.0], [0.1]])
    crossing = find_crossing(POSITIONS, np.array([3.0, 1.0, -1.0]) + noise, anytime=False)
    assert isinstance(crossing, Crossing)
    assert crossing.position == pytest.approx(1.5)
    # The t interval of the mean, at the slope of -2: 4.303 * 0.1 / sqrt(3) / 2.
    assert (crossing.low, crossing.high) == pytest.approx((1.376, 1.624), abs=0.006)
    wider = find_crossing(POSITIONS, np.array([3.0, 1.0, -1.0]) + noise * 20, anytime=False)
    assert isinstance(wider, Crossing)
    assert (wider.low, wider.high) == (None, None)
    exact = find_crossing(POSITIONS, np.array([[3.0, 1.0, -1.5]] * 3), anytime=True)
    assert exact == Crossing(1.4, 1.4, 1.4)


@pytest.mark.parametrize(
    ("mean", "seeds", "reason"),
    [
        ([1.0, 2.0, 3.0], 3, "never crosses zero"),
        ([0.0, 0.0, 0.0], 3, "never crosses zero"),
        ([1.0, -2.0, 3.0], 3, "more than once"),
        ([1.0, -2.0, -3.0], 2, "Fewer than 3 seeds"),
    ],
)
def test_without_one_crossing_the_reason_is_given(mean: list[float], seeds: int, reason: str) -> None:
    assert reason in str(find_crossing(POSITIONS, np.array([mean] * seeds), anytime=False))


def test_a_mean_of_zero_at_a_point_is_the_crossing_itself() -> None:
    noise = np.array([[-0.1], [0.0], [0.1]])
    crossing = find_crossing(POSITIONS, np.array([2.0, 0.0, -2.0]) + noise, anytime=False)
    assert isinstance(crossing, Crossing)
    assert crossing.position == pytest.approx(1.0)


def test_what_another_beats_clearly_is_not_among_the_possibly_best() -> None:
    noise = np.array([-0.02, 0.01, 0.0, 0.02, -0.01, 0.0])
    losses = np.array([0.50 + noise, 0.49 - noise, 0.60 + 2 * noise])
    assert find_possible_best(losses, anytime=False) == [True, True, False]
    assert find_possible_best(losses[:, :2], anytime=False) == [True, True, True]
    assert find_possible_best(np.array([[0.5] * 3, [0.4] * 3, [0.4] * 3]), anytime=True) == [
        False,
        True,
        True,
    ]


SIZES = np.array([200.0, 400.0, 1000.0, 4000.0])


def test_an_error_curve_is_that_of_the_mean_errors() -> None:
    truth = 2 + 300 * SIZES**-0.6
    errors = truth * (1 + np.array([[-0.02], [0.0], [0.02]]))
    at = np.array([300.0, 2000.0])
    curve = fit_error_curve(SIZES, errors, at, anytime=False)
    assert isinstance(curve, ErrorCurve)
    assert curve.values == pytest.approx(2 + 300 * at**-0.6)
    assert curve.a is not None
    assert curve.b is not None
    assert curve.c is not None
    assert (curve.a.value, curve.b.value, curve.c.value) == pytest.approx((2, 300, 0.6), rel=1e-4)
    # All sizes of a seed are as much above or below: the interval is that of one mean, t = 4.303.
    assert curve.high / curve.values - 1 == pytest.approx(4.303 * 0.02 / np.sqrt(3), rel=1e-3)
    looked = fit_error_curve(SIZES, np.repeat(errors, 4, axis=0), at, anytime=True)
    fixed = fit_error_curve(SIZES, np.repeat(errors, 4, axis=0), at, anytime=False)
    assert isinstance(looked, ErrorCurve)
    assert isinstance(fixed, ErrorCurve)
    assert np.all(looked.high > fixed.high)


def test_where_no_curve_can_be_told_the_reason_is_given() -> None:
    noise = np.array([[-0.1, 0.1, 0.0, 0.05], [0.1, -0.1, 0.05, 0.0], [0.0, 0.05, -0.1, 0.1]])
    wave = np.array([10.0, 20.0, 5.0, 15.0]) + noise
    assert "do not" in str(fit_error_curve(SIZES, wave, SIZES, anytime=False))
    assert "4 sizes" in str(fit_error_curve(SIZES[:3], wave[:, :3], SIZES, anytime=False))
    assert "Too few seeds" in str(fit_error_curve(SIZES, wave[:2], SIZES, anytime=False))
    # One that heads below zero is drawn as far as it was measured, and has no numbers.
    falling = fit_error_curve(SIZES, -5 + 100 * SIZES**-0.3 + 0.2 * noise, SIZES, anytime=False)
    assert isinstance(falling, str) or falling.a is None
    # Where errors scatter as much as they fall, the curve is drawn without its three numbers.
    scatter = 10 + 40 / np.sqrt(SIZES) + 5 * noise
    curve = fit_error_curve(SIZES, scatter, SIZES, anytime=False)
    assert isinstance(curve, str) or curve.c is None
