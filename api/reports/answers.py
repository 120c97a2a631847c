"""The answer of a report: a sentence for each tested metric, and what would settle what is open. Pure."""

from collections.abc import Sequence
from itertools import product

from api.reports.answer_schemas import Answer, NextStep
from api.reports.axis_schemas import AxisUsed
from api.reports.gains import summarize_calls
from api.reports.points import remove_point
from api.reports.schemas import Contrast, VariantReport
from api.reports.verdicts import format_plain, get_tested, join_clauses, summarize_metric
from models.experiments import FEWEST_PAIRS, Regime
from models.formatting import format_count
from models.inference import Plan

_MOST_SEEDS = 200
"""An offer to train more than that is of no practical use."""


def build_answers(
    contrasts: Sequence[Contrast], plan: Plan, *, axes: Sequence[AxisUsed], variants: int
) -> list[Answer]:
    """What each tested metric shows; empty while nothing may be called."""
    judged = [contrast for contrast in contrasts if len(contrast.seeds) >= FEWEST_PAIRS]
    if plan.regime is Regime.INTERIM or not judged:
        return []
    baseline = remove_point(judged[0].baseline, judged[0].point)
    names = [contrast.variant for contrast in judged]
    tests = plan.count_tests(variants)
    confidence = f"{100 * (1 - plan.level):g} % confidence"
    if tests > 1:
        confidence += f", for all {tests} tests of this report together"
    return [
        Answer(
            metric=metric.name,
            title=metric.title,
            text=summarize_calls(metric, contrasts, axes, baseline)
            if axes
            else join_clauses([summarize_metric(metric, judged, baseline)], names),
            confidence=f"{confidence}.",
        )
        for metric in get_tested(plan)
    ]


def find_next_step(
    contrasts: Sequence[Contrast], variants: Sequence[VariantReport], plan: Plan
) -> NextStep | None:
    """The fewest seeds that would probably settle something; null where nothing is open, or with axes."""
    if plan.regime is Regime.INTERIM or plan.planned_baseline or not contrasts or contrasts[0].point:
        return None
    follow_up = plan.regime is Regime.FIXED
    fewest = min(len(contrast.seeds) for contrast in contrasts)
    if fewest < FEWEST_PAIRS:
        seeds = FEWEST_PAIRS if follow_up else FEWEST_PAIRS - fewest
        text = f"Differences are called from {FEWEST_PAIRS} pairs of seeds on; here are {fewest}."
        return _build_step([contrast.variant for contrast in contrasts], seeds, variants, text, follow_up)
    missing: dict[str, int] = {}
    for contrast, metric in product(contrasts, get_tested(plan)):
        difference = getattr(contrast.differences, metric.contrast)
        equivalence = difference.equivalence
        if difference.call or not equivalence or equivalence.equivalent or not equivalence.more_seeds:
            continue
        if (difference.detectable or 0) > equivalence.margin and equivalence.more_seeds <= _MOST_SEEDS:
            missing[contrast.variant] = equivalence.more_seeds
    if not missing:
        return None
    variant = min(missing, key=lambda name: missing[name])
    count = format_count(missing[variant], "fresh seed" if follow_up else "more seed")
    margin = format_plain(plan.margin_points, "points")
    text = f"About {count} of {variant} would probably show a difference of {margin}, if there is one."
    return _build_step([variant], missing[variant], variants, text, follow_up)


def _build_step(
    names: list[str], seeds: int, variants: Sequence[VariantReport], text: str, follow_up: bool
) -> NextStep:
    # Seeds that are added train every variant, a follow-up its own and the baseline.
    trained = [item.metrics for item in variants if item.is_baseline or item.name in names or not follow_up]
    seconds = [metrics.training_seconds.mean for metrics in trained if metrics]
    return NextStep(
        follow_up=follow_up,
        variants=names,
        seeds=seeds,
        seconds=seeds * sum(seconds) if len(seconds) == len(trained) else None,
        text=text,
    )
