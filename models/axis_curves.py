"""Statistics along an axis: where a gain begins, how errors fall, what may be best at a point. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.statistics import ALPHA, FEWEST_FOR_INTERVAL, Array, compute_critical_t

_STEPS = 200
"""Between two points of an axis, at each of which the interval of a crossing is looked up."""
_ROUNDING = 1e-12
_NEGLIGIBLE = 1e-6
"""Of the largest error: less is no misfit and no scatter."""
_FEWEST_SIZES = 4
"""Three always lie on a curve of three numbers."""
_EXPONENTS = np.linspace(0.02, 3, 150)
_MISFIT = 0.01
"""How often means that do lie on the curve are said not to."""


@dataclass(frozen=True)
class Crossing:
    """Where a mean curve crosses zero; an end of its interval is None where that lies beyond the points."""

    position: float
    low: float | None
    high: float | None


def find_crossing(positions: Array, curves: Array, *, anytime: bool) -> Crossing | str:
    """Where the mean of `curves` (seeds, positions) crosses zero, or why there is no such place.

    Between ascending positions every curve is a straight line. The 95 % interval holds the places at which
    the mean is not distinguishable from zero by a t test over the seeds' curves there, or with `anytime` by
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


@dataclass(frozen=True)
class CurveEstimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ErrorCurve:
    """`a + b n^-c`, fitted to errors by the size n of the training set."""

    a: CurveEstimate | None
    """None, as the other two, where the three cannot be distinguished, though the curve itself is known."""
    b: CurveEstimate | None
    c: CurveEstimate | None
    values: Array
    """Of the curve, at the sizes that were asked for."""
    low: Array
    """The 95 % interval of each."""
    high: Array


def fit_error_curve(sizes: Array, errors: Array, at: Array, *, anytime: bool) -> ErrorCurve | str:
    """`a + b n^-c` through the mean `errors` (seeds, sizes), with its values `at` sizes, or why it has none.

    Weighted least squares, by variances that are smooth in the size. Near the fit all that is estimated is
    linear in the errors, so that each seed has an estimate of its own: intervals are t intervals over these,
    which allows for errors of one seed that move together, or with `anytime` as in `anytime_difference`.
    An `a` that would be negative is fixed at zero; the intervals allow for others all the same.
    Source: Cortes et al., Learning Curves: Asymptotic Values and Rate of Convergence, NeurIPS 6 (1993); Seber
    and Wild, Nonlinear Regression (1989), chapter 2.
    """
    seeds, count = errors.shape
    critical = compute_critical_t(seeds, ALPHA, anytime=anytime) if seeds >= FEWEST_FOR_INTERVAL else np.inf
    if count < _FEWEST_SIZES:
        return f"A curve of three numbers takes {_FEWEST_SIZES} sizes or more."
    if not np.isfinite(critical):
        return "Too few seeds have a result at every size."
    middle = float(np.exp(np.log(sizes).mean()))
    ratio, weights = sizes / middle, 1 / _smooth_deviations(sizes, errors) ** 2
    free = _fit_power(ratio, errors, weights, with_level=True)
    fit = free
    if free is None or free.level.mean() < 0:
        fit = _fit_power(ratio, errors, weights, with_level=False)
    if fit is None:
        return "The errors do not fall as such a curve does."
    fitted = fit.predict(ratio)
    deviations = (errors - fitted).std(axis=0, ddof=1) / np.sqrt(seeds)
    strict = compute_critical_t(seeds, _MISFIT / count, anytime=anytime)
    allowed = strict * deviations + _NEGLIGIBLE * np.abs(errors).max()
    if np.any(np.abs((errors - fitted).mean(axis=0)) > allowed):
        return "The mean errors do not lie on such a curve."
    curves = fit.predict(at / middle)
    half = critical * curves.std(axis=0, ddof=1) / np.sqrt(seeds)
    values = curves.mean(axis=0)
    a = b = c = None
    if free is not None:
        # Of b its logarithm, for sizes in units of one.
        logs = [
            np.log(slope) + one.slope / slope - 1 + one.exponent * np.log(middle)
            for one in (free, fit)
            for slope in [float(one.slope.mean())]
        ]
        low, high = _join_ends([free.exponent, fit.exponent], critical)
        level_low, level_high = _join_ends([free.level], critical)
        # A curve that may be flat has no exponent, and one that heads below zero is none of errors.
        if low > 0 and _join_ends([free.slope], critical)[0] > 0 and level_high > 0:
            a = CurveEstimate(float(fit.level.mean()), max(0.0, level_low), max(0.0, level_high))
            b = CurveEstimate(*np.exp([logs[1].mean(), *_join_ends(logs, critical)]).tolist())
            c = CurveEstimate(float(fit.exponent.mean()), low, high)
    return ErrorCurve(a, b, c, values, values - half, values + half)


@dataclass(frozen=True)
class _PowerFit:
    """Estimates of each seed, linearized about the fit to the means."""

    level: Array
    slope: Array
    exponent: Array

    def predict(self, ratio: Array) -> Array:
        """Each seed's curve (seeds, sizes) at sizes in units of the middle one."""
        slope, exponent = self.slope.mean(), self.exponent.mean()
        power = ratio**-exponent
        bends = (self.exponent - exponent)[:, None] * slope * power * np.log(ratio)
        return np.asarray(self.level[:, None] + self.slope[:, None] * power - bends)


def _fit_power(ratio: Array, errors: Array, weights: Array, *, with_level: bool) -> _PowerFit | None:
    """The least squares fit; None where its exponent lies at an end of what is tried."""
    mean, root = errors.mean(axis=0), np.sqrt(weights)

    def solve(exponent: float) -> tuple[float, Array]:
        power = ratio**-exponent
        design = np.stack([np.ones_like(ratio), power] if with_level else [power], axis=1) * root[:, None]
        solution = np.linalg.lstsq(design, mean * root, rcond=None)[0]
        return float(np.square(design @ solution - mean * root).sum()), solution

    best = int(np.argmin([solve(exponent)[0] for exponent in _EXPONENTS]))
    if best in (0, len(_EXPONENTS) - 1):
        return None
    low, high = _EXPONENTS[best - 1], _EXPONENTS[best + 1]
    for _ in range(40):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, second) if solve(first)[0] < solve(second)[0] else (first, high)
    exponent = (low + high) / 2
    solution = solve(exponent)[1]
    slope = float(solution[-1])
    if slope <= _ROUNDING * np.abs(mean).max():
        return None
    power = ratio**-exponent
    jacobian = np.stack([np.ones_like(ratio), power, -slope * power * np.log(ratio)], axis=1)
    jacobian = jacobian if with_level else jacobian[:, 1:]
    influence = np.linalg.pinv(jacobian * root[:, None]) * root
    centre = np.array([*solution, exponent])
    estimates = centre + (errors - mean) @ influence.T
    level = estimates[:, 0] if with_level else np.zeros(len(errors))
    return _PowerFit(level, estimates[:, -2], estimates[:, -1])


def _join_ends(estimates: Sequence[Array], critical: float) -> tuple[float, float]:
    """The least interval that contains the t intervals of the means of all these values."""
    halves = [critical * values.std(ddof=1) / np.sqrt(len(values)) for values in estimates]
    means = [values.mean() for values in estimates]
    return (
        float(min(mean - half for mean, half in zip(means, halves, strict=True))),
        float(max(mean + half for mean, half in zip(means, halves, strict=True))),
    )


def _smooth_deviations(sizes: Array, errors: Array) -> Array:
    """Standard deviations on a straight line in logarithms: of few seeds each alone is too uncertain."""
    deviations = np.maximum(errors.std(axis=0, ddof=1), _NEGLIGIBLE * np.abs(errors).max() + _ROUNDING)
    line = np.polyfit(np.log(sizes), np.log(deviations), 1)
    return np.asarray(np.exp(np.polyval(line, np.log(sizes))))


def find_possible_best(losses: Array, *, anytime: bool) -> list[bool]:
    """Which of the rows of `losses` (variants, seeds) may have the lowest mean: the lowest has it in 95 %.

    One is left out where a one-sided paired t test shows another to be lower, Bonferroni-corrected for the
    others, or with `anytime` the test of `anytime_difference`.
    Source: Hsu, Simultaneous Confidence Intervals for All Distances from the "Best", Ann. Statistics 9
    (1981).
    """
    count, seeds = losses.shape
    if count < 2 or seeds < FEWEST_FOR_INTERVAL:
        return [True] * count
    critical = compute_critical_t(seeds, 2 * ALPHA / (count - 1), anytime=anytime)
    possible = []
    for row in losses:
        excess = row - losses
        errors = excess.std(axis=1, ddof=1) / np.sqrt(seeds)
        # Equal rows, the row itself among them, differ by nothing and scatter by nothing.
        with np.errstate(invalid="ignore"):
            half = np.where(errors > 0, critical * errors, 0.0)
        possible.append(not np.any(excess.mean(axis=1) > half))
    return possible
