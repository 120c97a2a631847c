"""Curves along an axis, over seeds that each have the whole curve: where a gain begins. Pure."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.statistics import ALPHA, FEWEST_FOR_INTERVAL, Array, compute_critical_t

_STEPS = 200
"""Between two points of an axis, at each of which the interval of a crossing is looked up."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Crossing:
    """Where a mean curve crosses zero; an end of its interval is None where that lies beyond the points."""

    position: float
    low: float | None
    high: float | None


def find_crossing(positions: Array, curves: Array, *, anytime: bool) -> Crossing | str:
    """Where the mean of `curves` (seeds, positions) crosses zero, or why there is no such place.

    Between ascending positions every curve is a straight line. The 95 % interval holds the places at which
    the mean is not told from zero by a t test over the seeds' curves there, or with `anytime` by
    `anytime_difference`: of normal curves it covers the true crossing as often as that test says, at any
    number of seeds, where a bootstrap of a few seeds is too narrow.
    Source: Fieller, Some Problems in Interval Estimation, J. Royal Statistical Society B 16 (1954).
    """
    seeds = len(curves)
    if seeds < FEWEST_FOR_INTERVAL:
        return f"Fewer than {FEWEST_FOR_INTERVAL} seeds have a result at every point."
    mean = curves.mean(axis=0)
    signs = np.sign(np.where(np.abs(mean) < _ROUNDING, 0, mean))
    nonzero = np.flatnonzero(signs)
    changes = np.flatnonzero(np.diff(signs[nonzero]))
    if changes.size != 1:
        return f"The mean gain {'crosses zero more than once' if changes.size else 'never crosses zero'}."
    grid = np.concatenate(
        [np.linspace(*ends, _STEPS, endpoint=False) for ends in pairwise(positions)] + [positions[-1:]]
    )
    along = np.array([np.interp(grid, positions, curve) for curve in curves])
    errors = along.std(axis=0, ddof=1) / np.sqrt(seeds)
    critical = compute_critical_t(seeds, ALPHA, anytime=anytime)
    with np.errstate(invalid="ignore"):
        # Without scatter, of which rounding leaves some last bits, there is no doubt at any level.
        half = np.where(errors > _ROUNDING * np.abs(mean).max(), critical * errors, 0)
    outside = np.abs(along.mean(axis=0)) > half
    last, first = nonzero[changes[0]], nonzero[changes[0] + 1]
    share = mean[last] / (mean[last] - mean[first])
    position = float(positions[last] + share * (positions[first] - positions[last]))
    inside = np.flatnonzero(~outside)
    if not inside.size:
        return Crossing(position, position, position)
    start, end = inside[0], inside[-1]
    return Crossing(
        position,
        float(grid[start - 1]) if start else None,
        float(grid[end + 1]) if end + 1 < len(grid) else None,
    )
