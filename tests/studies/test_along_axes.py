"""Whether the intervals along an axis contain what is true as often as they say.

Simulated through the report's own code: fitted error curves, whose scatter grows with the error and is partly
shared by a seed's sizes, and crossings of a gain. The figures are in docs/explanation/fair-comparison.md.
"""

import numpy as np
import pytest

from models.axis_curves import Crossing, find_crossing, fit_error_curve

pytestmark = pytest.mark.slow
CURVES = 400
CROSSINGS = 2000


def draw_scatter(random: np.random.Generator, seeds: int, points: int, shared: float) -> np.ndarray:
    own = np.sqrt(1 - shared**2) * random.standard_normal((seeds, points))
    return np.asarray(shared * random.standard_normal((seeds, 1)) + own)


@pytest.mark.parametrize("seeds", [6, 10])
@pytest.mark.parametrize("points", [5, 7])
@pytest.mark.parametrize(("a", "c"), [(0.0, 0.5), (1.0, 0.5), (3.0, 0.7), (2.0, 0.3), (5.0, 1.0)])
def test_the_band_of_an_error_curve_covers_it(a: float, c: float, points: int, seeds: int) -> None:
    random = np.random.default_rng(0)
    sizes, at = np.geomspace(200, 4000, points), np.geomspace(200, 4000, 9)
    b = 20 * 300**c
    curves = []
    for _ in range(CURVES):
        scatter = draw_scatter(random, seeds, points, shared=0.3)
        errors = (a + b * sizes**-c) * (1 + 0.05 * scatter)
        curves.append(fit_error_curve(sizes, errors, at, anytime=False))
    fitted = [curve for curve in curves if not isinstance(curve, str)]
    assert len(fitted) >= 0.97 * CURVES
    truth = a + b * at**-c
    covered = np.mean([(curve.low <= truth) & (truth <= curve.high) for curve in fitted], axis=0)
    assert np.all((covered >= 0.9) & (covered <= 0.98)), covered
    identified = [(curve.a, curve.b, curve.c) for curve in fitted if curve.c is not None]
    assert len(identified) >= 0.85 * CURVES
    for true, estimates in zip((a, b, c), zip(*identified, strict=True), strict=True):
        share = np.mean([one is not None and one.low <= true <= one.high for one in estimates])
        assert 0.9 <= share <= 0.98


@pytest.mark.parametrize(("seeds", "slope"), [(6, 1.0), (6, 0.4), (10, 1.0), (10, 0.4)])
def test_the_interval_of_a_crossing_covers_it_where_a_bootstrap_would_not(seeds: int, slope: float) -> None:
    random = np.random.default_rng(1)
    positions, true = np.log([200.0, 400, 800, 1600, 3200]), np.log(700)
    covered, by_bootstrap = [], []
    for _ in range(CROSSINGS):
        scatter = 0.6 * draw_scatter(random, seeds, len(positions), shared=0.5)
        curves = slope * (true - positions) + scatter
        crossing = find_crossing(positions, curves, anytime=False)
        if not isinstance(crossing, Crossing):
            continue
        above = crossing.low is None or crossing.low <= true
        covered.append(above and (crossing.high is None or true <= crossing.high))
        resampled = curves[random.integers(0, seeds, (400, seeds))].mean(axis=1)
        low, high = np.quantile(
            [_find_first(positions, curve) for curve in resampled], [0.025, 0.975], method="inverted_cdf"
        )
        by_bootstrap.append(low <= true <= high)
    assert 0.945 <= np.mean(covered) <= 0.99
    assert np.mean(by_bootstrap) < 0.93


def _find_first(positions: np.ndarray, curve: np.ndarray) -> float:
    changes = np.flatnonzero(np.diff(np.sign(curve)))
    if not changes.size:
        return -np.inf if curve[0] < 0 else np.inf
    before, after = curve[changes[0]], curve[changes[0] + 1]
    start, end = positions[changes[0]], positions[changes[0] + 1]
    return float(start + before / (before - after) * (end - start))
