"""How an experiment with a stopping rule goes on, once all its jobs have ended. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.experiments import FEWEST_PAIRS, MOST_SEEDS, ExperimentSpec, Regime
from models.inference import Plan, judge_differences
from models.metrics import METRICS, Metric
from models.statistics import compute_differences, compute_paired_difference
from models.stopping_rules import DecideRule, WidthRule

_MOST_SEEDS_AT_ONCE = 10

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


def _count_seeds_until_narrow(spec: ExperimentSpec, rule: WidthRule, pairs: Pairs) -> int:
    """The width of an interval decides, not what it says.

    Adding seeds until p is small finds differences where there are none, adding them until the interval is
    narrow does not (Chow and Robbins, On the Asymptotic Theory of Fixed-Width Sequential Confidence
    Intervals, Ann. Math. Statistics 36, 1965).
    """
    scale = METRICS[rule.metric].format.scale
    values = [[getattr(result, rule.metric) for result in pair] for pair in pairs[rule.variant].values()]
    complete = [pair for pair in values if None not in pair]
    difference = compute_paired_difference(*([scale * pair[side] for pair in complete] for side in (0, 1)))
    # If no seed so far has given a pair, further ones would not either.
    if difference is None:
        return 0
    missing = FEWEST_PAIRS - difference.n
    if missing <= 0 and difference.low is not None and difference.high is not None:
        ratio = (difference.high - difference.low) / 2 / rule.half_width
        # An interval half as wide takes four times as many pairs; at least one more, because of rounding.
        missing = max(1, round(difference.n * ratio**2) - difference.n) if ratio > 1 else 0
    affordable = min(MOST_SEEDS, rule.max_jobs // len(spec.variants)) - len(spec.seeds)
    return max(0, min(missing, affordable, _MOST_SEEDS_AT_ONCE))
