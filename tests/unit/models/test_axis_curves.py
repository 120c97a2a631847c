"""Curves along an axis: where the mean gain crosses zero."""

import numpy as np
import pytest

from models.axis_curves import Crossing, find_crossing

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
