"""How an experiment with a stopping rule goes on, once all its jobs have ended. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from models.experiments import FEWEST_PAIRS, MOST_SEEDS, ExperimentSpec, Regime
from models.inference import Plan, judge_differences
from models.metrics import METRICS, Metric
from models.statistics import CONFIDENCE, compute_differences
from models.stopping_rules import DecideRule, WidthRule

_MOST_SEEDS_AT_ONCE = 10
_FEWEST_PAIRS_FOR_WIDTH, _PAIRS_AFTER_NARROW = 10, 12

Pairs = Mapping[str, Mapping[int, tuple[Any, Any]]]
"""Of each variant but the baseline, by seed: the baseline's result and its own."""


@dataclass(frozen=True)
class Continuation:
    """What an experiment does next."""

    seeds: int
    """How many to add; 0: it has ended."""
    closed: Mapping[str, int]
    """The variants that do not get them, each with how many seeds it runs with."""


def plan_continuation(spec: ExperimentSpec, results: Mapping[str, Mapping[int, Any]]) -> Continuation:
    """What the stopping rule of `spec` asks for, given each variant's results by seed."""
    baseline = results.get(spec.baseline_name, {})
    pairs = {
        variant.name: {
            seed: (baseline[seed], result)
            for seed, result in results.get(variant.name, {}).items()
            if seed in baseline
        }
        for variant in spec.variants
        if variant.name != spec.baseline_name
    }
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
    differences = {
        (variant, METRICS[name]): _compute_differences(spec, by_seed, METRICS[name])
        for variant, by_seed in pairs.items()
        for name in spec.primary
    }
    decided = judge_differences(differences, plan, variants=len(spec.variants)).find_decided()
    if seeds >= FEWEST_PAIRS:
        # If no seed so far has given a pair, further ones would not either.
        decided |= {variant for variant, by_seed in pairs.items() if not by_seed}
    closed = {
        variant: spec.closed.get(variant, seeds) for variant in pairs if variant in {*decided, *spec.closed}
    }
    if len(closed) == len(pairs):
        return Continuation(0, closed)
    # The baseline and every open variant.
    jobs_a_seed = len(spec.variants) - len(closed)
    affordable = min(MOST_SEEDS - seeds, (rule.max_jobs - spec.planned_jobs) // jobs_a_seed)
    # A look costs nothing, but few jobs at a time leave workers idle: a tenth more overshoots by a tenth.
    return Continuation(max(0, min(affordable, max(FEWEST_PAIRS - seeds, seeds // 10, 1))), closed)


def _compute_differences(
    spec: ExperimentSpec, pairs: Mapping[int, tuple[Any, Any]], metric: Metric
) -> dict[int, float]:
    """By seed, in their order: a metric's difference in each pair that has it, in the contrast's unit."""
    values = {
        seed: [getattr(result, metric.name) for result in pairs[seed]] for seed in spec.seeds if seed in pairs
    }
    complete = {seed: pair for seed, pair in values.items() if None not in pair}
    sides = ([metric.format.scale * pair[side] for pair in complete.values()] for side in (0, 1))
    return dict(zip(complete, compute_differences(*sides), strict=True))


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
    differences = _compute_differences(spec, pairs[rule.variant], METRICS[rule.metric])
    # If no seed so far has given a pair, further ones would not either.
    if not differences:
        return 0
    missing = count_missing_pairs(list(differences.values()), rule.half_width)
    affordable = min(MOST_SEEDS, rule.max_jobs // len(spec.variants)) - len(spec.seeds)
    return max(0, min(missing, affordable, _MOST_SEEDS_AT_ONCE))
