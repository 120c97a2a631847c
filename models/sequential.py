"""How an experiment with a stopping rule goes on, once all its jobs have ended. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from scipy.special import stdtrit

from models.experiments import FEWEST_PAIRS, MOST_SEEDS, ExperimentSpec, Regime
from models.inference import Plan, judge_differences
from models.metrics import METRICS, Metric
from models.run_key import RunKey, format_point
from models.statistics import CONFIDENCE, compute_differences
from models.stopping_rules import DecideRule, WidthRule

_MOST_SEEDS_AT_ONCE = 10
_SEPARATOR = "\0"
"""Between a variant's name and a point: no name contains it."""
_FEWEST_PAIRS_FOR_WIDTH, _PAIRS_AFTER_NARROW = 10, 12

Pairs = Mapping[tuple[str, str], Mapping[int, Sequence[tuple[Any, Any]]]]
"""Of each variant but the baseline and each point of the axes, by seed: the baseline's result and its own, on
each part."""


@dataclass(frozen=True)
class Continuation:
    """What an experiment does next."""

    seeds: int
    """How many to add; 0: it has ended."""
    closed: Mapping[str, int]
    """The variants that do not get them, each with how many seeds it runs with."""


def plan_continuation(spec: ExperimentSpec, results: Mapping[RunKey, Any]) -> Continuation:
    """What the stopping rule of `spec` asks for, given the results of its runs."""
    pairs: dict[tuple[str, str], dict[int, list[tuple[Any, Any]]]] = {
        (variant.name, format_point(point)): {}
        for variant in spec.variants
        if variant.name != spec.baseline_name
        for point in spec.points
    }
    for key, result in results.items():
        partner = replace(key, variant=spec.baseline_name)
        if key != partner and partner in results:
            by_seed = pairs[key.variant, key.point]
            by_seed.setdefault(key.seed, []).append((results[partner], result))
    match spec.stopping_rule:
        case DecideRule() as rule:
            return _continue_until_decided(spec, rule, pairs)
        case WidthRule() as rule:
            return Continuation(_count_seeds_until_narrow(spec, rule, pairs), {})
    return Continuation(0, {})


def _continue_until_decided(spec: ExperimentSpec, rule: DecideRule, pairs: Pairs) -> Continuation:
    seeds = len(spec.seeds)
    plan = Plan(Regime.SEQUENTIAL, spec.primary, spec.margin_points, spec.margin_loss)
    # Closed variants are members of the family for good: their intervals need its planned size.
    names = {key: _SEPARATOR.join(key) for key in pairs}
    differences = {
        (names[key], METRICS[name]): _compute_differences(spec, by_seed, METRICS[name])
        for key, by_seed in pairs.items()
        for name in spec.primary
    }
    decided = judge_differences(differences, plan, variants=len(pairs) + 1).find_decided()
    # If no seed so far has given a pair, further ones would not either.
    hopeless = {key for key, by_seed in pairs.items() if not by_seed and seeds >= FEWEST_PAIRS}
    # A variant goes on until it is decided at every point.
    undecided = {key[0] for key in pairs if names[key] not in decided and key not in hopeless}
    others = dict.fromkeys(variant for variant, _ in pairs)
    closed = {
        variant: spec.closed.get(variant, seeds)
        for variant in others
        if variant not in undecided or variant in spec.closed
    }
    if len(closed) == len(others):
        return Continuation(0, closed)
    # The baseline and every open variant, on every part and at every point.
    jobs_a_seed = (len(spec.variants) - len(closed)) * (spec.parts or 1) * len(spec.points)
    affordable = min(MOST_SEEDS - seeds, (rule.max_jobs - spec.planned_jobs) // jobs_a_seed)
    # A look costs nothing, but few jobs at a time leave workers idle: a tenth more overshoots by a tenth.
    return Continuation(max(0, min(affordable, max(FEWEST_PAIRS - seeds, seeds // 10, 1))), closed)


def _compute_differences(
    spec: ExperimentSpec, pairs: Mapping[int, Sequence[tuple[Any, Any]]], metric: Metric
) -> dict[int, float]:
    """By seed, in their order: a metric's difference in each pair that has it, in the contrast's unit.

    With parts the mean over those of which both have a result, as in reports.
    """
    means: dict[int, list[float]] = {}
    for seed in spec.seeds:
        values = [[getattr(result, metric.name) for result in pair] for pair in pairs.get(seed, ())]
        if complete := [pair for pair in values if None not in pair]:
            means[seed] = [metric.format.scale * fmean(side) for side in zip(*complete, strict=True)]
    sides = ([pair[side] for pair in means.values()] for side in (0, 1))
    return dict(zip(means, compute_differences(*sides), strict=True))


def count_missing_pairs(values: Sequence[float], half_width: float) -> int:
    """How many pairs a 95 % interval of that half-width still takes; `values` are differences, in order.

    The width of an interval decides, not what it says: adding seeds until p is small finds differences where
    there are none, adding them until the interval is narrow does not (Chow and Robbins, On the Asymptotic
    Theory of Fixed-Width Sequential Confidence Intervals, Ann. Math. Statistics 36, 1965). Yet the first
    interval that is narrow enough is so partly by chance, and it contains the true difference in 92.6 % of
    cases at worst; twelve more pairs make that 94.5 % (tests/studies/test_width_rule.py).
    """
    n = len(values)
    if n < _FEWEST_PAIRS_FOR_WIDTH:
        return _FEWEST_PAIRS_FOR_WIDTH - n
    # Of the first pairs, for each number of them that there was; centred, so that no digits are lost.
    counts, centred = np.arange(1, n + 1), np.asarray(values) - np.mean(values)
    squares = np.cumsum(centred**2) - np.cumsum(centred) ** 2 / counts
    counts, squares = counts[_FEWEST_PAIRS_FOR_WIDTH - 1 :], squares[_FEWEST_PAIRS_FOR_WIDTH - 1 :]
    errors = np.sqrt(np.maximum(squares, 0) / (counts - 1) / counts)
    half_widths = stdtrit(counts - 1, (1 + CONFIDENCE) / 2) * errors
    narrow = half_widths <= half_width
    if narrow.any():
        return max(0, int(counts[narrow.argmax()]) + _PAIRS_AFTER_NARROW - n)
    # An interval half as wide takes four times as many pairs; at least one more, because of rounding.
    return max(1, round(n * (float(half_widths[-1]) / half_width) ** 2) - n)


def _count_seeds_until_narrow(spec: ExperimentSpec, rule: WidthRule, pairs: Pairs) -> int:
    differences = _compute_differences(spec, pairs[rule.variant, ""], METRICS[rule.metric])
    # If no seed so far has given a pair, further ones would not either.
    if not differences:
        return 0
    missing = count_missing_pairs(list(differences.values()), rule.half_width)
    affordable = min(MOST_SEEDS, rule.max_jobs // (len(spec.variants) * (spec.parts or 1))) - len(spec.seeds)
    return max(0, min(missing, affordable, _MOST_SEEDS_AT_ONCE))
