"""Experiments with axes: what is chosen at each point, and what each variant gains along them. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from api.reports.axis_schemas import (
    AxisUsed,
    Best,
    CrossingPoint,
    Gain,
    GainAtPoint,
    Pays,
    PointReport,
)
from api.reports.formatting import UNKNOWN
from api.reports.points import remove_point
from api.reports.schemas import Comparison, Contrast, Difference, VariantReport
from models.axes import TRAIN_SAMPLES, list_points, parse_numbers
from models.axis_curves import find_crossing, find_possible_best
from models.experiments import ExperimentSpec, Regime
from models.formatting import format_count
from models.metrics import CONTRASTED, METRICS, Metric
from models.run_key import (
    describe_point,
    format_axis_value,
    format_point,
    name_axis,
    name_axis_value,
    parse_point,
)
from models.selection import VariantMeans

_MOST_NAMES = 3
_LOG_FROM = 10
"""Of the largest to the smallest value of an axis: from here on its scale is logarithmic."""


def build_axes(spec: ExperimentSpec) -> list[AxisUsed]:
    """An experiment's axes, their values in ascending order where they have one."""
    axes = []
    for axis in spec.axes:
        # A training set of no given size is the whole dataset.
        whole = spec.base.dataset.card.train_examples if axis.field == TRAIN_SAMPLES else None
        values, numbers = list(axis.values), parse_numbers(axis.values, default=whole)
        scale = "categories"
        if numbers is not None:
            order = sorted(range(len(numbers)), key=numbers.__getitem__)
            values, numbers = [values[index] for index in order], [numbers[index] for index in order]
            spans = numbers[0] > 0 and numbers[-1] >= _LOG_FROM * numbers[0]
            scale = "log" if spans else "linear"
        title = name_axis(axis.field)
        axes.append(
            AxisUsed.model_validate(
                {"field": axis.field, "title": title, "values": values, "numbers": numbers, "scale": scale}
            )
        )
    return axes


def build_best(choice: VariantMeans | str | None) -> Best | None:
    """What was chosen, as the API shows it."""
    return Best.model_validate(asdict(choice)) if isinstance(choice, VariantMeans) else None


def build_points(
    choices: Mapping[str, VariantMeans | str], variants: Sequence[VariantReport], *, anytime: bool
) -> list[PointReport]:
    """What is chosen at each point, given by the points' keys, and what else may be best there."""
    points = []
    for key, choice in choices.items():
        point, best = parse_point(key) or {}, build_best(choice)
        reports = [variant for variant in variants if variant.point == point]
        points.append(
            PointReport(
                point=point,
                best=best,
                no_best=choice if isinstance(choice, str) else None,
                may_be_best=_find_possible_best(reports, best, anytime=anytime) if best else [],
            )
        )
    return points


def _find_possible_best(reports: Sequence[VariantReport], best: Best, *, anytime: bool) -> list[str]:
    """Of the variants with a validation loss in every seed of the chosen one."""
    losses: dict[str, dict[int, float]] = {}
    for report in reports:
        by_seed: dict[int, list[float]] = {}
        for seed in report.seeds:
            if seed.result.validation_loss is not None:
                by_seed.setdefault(seed.seed, []).append(seed.result.validation_loss)
        name = remove_point(report.name, report.point)
        losses[name] = {seed: fmean(values) for seed, values in by_seed.items()}
    seeds = sorted(losses[best.variant])
    complete = [name for name, by_seed in losses.items() if by_seed.keys() >= set(seeds)]
    matrix = np.array([[losses[name][seed] for seed in seeds] for name in complete])
    flags = find_possible_best(matrix, anytime=anytime)
    return [name for name, flag in zip(complete, flags, strict=True) if flag]


def build_gains(comparison: Comparison) -> list[Gain]:
    """Each variant's gain along the axes in each tested metric; none without axes."""
    if not comparison.axes:
        return []
    by_variant: dict[str, list[Contrast]] = {}
    for contrast in sort_by_point(comparison.contrasts, comparison.axes):
        by_variant.setdefault(remove_point(contrast.variant, contrast.point), []).append(contrast)
    reports = {variant.name: variant for variant in comparison.variants}
    gains = []
    for variant, contrasts in by_variant.items():
        for metric in CONTRASTED:
            pairs = [(item, getattr(item.differences, metric.contrast, None)) for item in contrasts]
            differences = [(item, difference) for item, difference in pairs if difference is not None]
            if not any(difference.tested for _, difference in differences):
                continue
            crossing = _find_crossing(comparison, metric, contrasts, reports)
            gains.append(
                Gain(
                    variant=variant,
                    metric=metric.name,
                    unit=metric.contrast_unit,
                    points=[
                        _build_gain(item.point or {}, difference, metric) for item, difference in differences
                    ],
                    pays=_find_paying(comparison.axes, contrasts, metric),
                    crossing=None if isinstance(crossing, str) else crossing,
                    no_crossing=crossing if isinstance(crossing, str) else None,
                )
            )
    return gains


def _build_gain(point: dict[str, Any], difference: Difference, metric: Metric) -> GainAtPoint:
    sign = 1 if metric.direction == "higher" else -1
    ends = [
        None if end is None else sign * end
        for end in (difference.simultaneous_low, difference.simultaneous_high)
    ]
    low, high = ends[::sign]
    return GainAtPoint(
        point=point,
        n=difference.n,
        mean=sign * difference.mean,
        low=low,
        high=high,
        call=get_call(difference, metric),
    )


def get_call(difference: Difference | None, metric: Metric) -> Any:
    """`gain` or `loss`, where a difference is called; else None."""
    if difference is None or difference.call is None:
        return None
    return "gain" if difference.call == metric.direction else "loss"


def _find_paying(axes: Sequence[AxisUsed], contrasts: Sequence[Contrast], metric: Metric) -> Pays | None:
    if len(axes) != 1 or axes[0].numbers is None or len(contrasts) < len(axes[0].values):
        return None
    calls = [get_call(getattr(item.differences, metric.contrast, None), metric) for item in contrasts]
    flags = [call == "gain" for call in calls]
    where, index = find_extent(flags)
    if where is None:
        return None
    return Pays.model_validate({"where": where, "value": None if index is None else axes[0].values[index]})


def find_extent(flags: Sequence[bool]) -> tuple[str | None, int | None]:
    """Where flags along an axis are set without a gap from one of its ends on, and the last or first set."""
    if all(flags):
        return "everywhere", None
    count = sum(flags)
    if count and all(flags[-count:]):
        return "from", len(flags) - count
    if count and all(flags[:count]):
        return "up_to", count - 1
    return None, None


def _find_crossing(
    comparison: Comparison,
    metric: Metric,
    contrasts: Sequence[Contrast],
    reports: Mapping[str, VariantReport],
) -> CrossingPoint | str:
    axis = comparison.axes[0]
    if len(comparison.axes) > 1 or axis.numbers is None or len(axis.numbers) < 2:
        return "A crossing takes one axis of two numbers or more."
    if comparison.inference is Regime.INTERIM:
        return "Nothing is located before every planned run has ended."
    if len(contrasts) < len(axis.numbers):
        return "No variant or no baseline is left at some point."
    curves = [
        compute_differences_by_seed(reports[item.baseline], reports[item.variant], metric)
        for item in contrasts
    ]
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in curves)))
    is_log = axis.scale == "log"
    sign = 1 if metric.direction == "higher" else -1
    crossing = find_crossing(
        np.log(axis.numbers) if is_log else np.array(axis.numbers),
        sign * np.array([[by_seed[seed] for by_seed in curves] for seed in seeds]),
        anytime=comparison.inference is not Regime.FIXED,
    )
    if isinstance(crossing, str):
        return crossing
    value, low, high = (
        math.exp(end) if is_log and end is not None else end
        for end in (crossing.position, crossing.low, crossing.high)
    )
    return CrossingPoint.model_validate({"value": value, "low": low, "high": high})


def compute_differences_by_seed(
    baseline: VariantReport, variant: VariantReport, metric: Metric
) -> dict[int, float]:
    """`variant` minus `baseline` in the contrast's unit: of each seed the mean over the parts of both."""
    before, after = (
        {(seed.seed, seed.part): getattr(seed.result, metric.name) for seed in report.seeds}
        for report in (baseline, variant)
    )
    by_seed: dict[int, list[float]] = {}
    for run in before.keys() & after.keys():
        by_seed.setdefault(run[0], []).append(metric.format.scale * (after[run] - before[run]))
    return {seed: fmean(values) for seed, values in by_seed.items()}


def sort_by_point(contrasts: Sequence[Contrast], axes: Sequence[AxisUsed]) -> list[Contrast]:
    """Along the axes, the first of them outermost."""
    return sorted(contrasts, key=lambda contrast: find_position(contrast.point, axes))


def find_position(point: Mapping[str, Any] | None, axes: Sequence[AxisUsed]) -> list[int]:
    """Where a point lies along each of the axes."""
    orders = {axis.field: [json.dumps(value) for value in axis.values] for axis in axes}
    return [orders[field].index(json.dumps(value)) for field, value in (point or {}).items()]


def list_values(points: Sequence[dict[str, Any]], axes: Sequence[AxisUsed]) -> str:
    """Points in a sentence: `250 and 1,000 training examples`."""
    if len(axes) == 1:
        field = axes[0].field
        values = join_some([format_axis_value(field, point[field]) for point in points], "value")
        return name_axis_value(field, values)
    return join_some([describe_point(point) for point in points], "point")


def describe_extent(flags: Sequence[bool], points: Sequence[Any], axes: Sequence[AxisUsed]) -> str:
    """Where flags are set, of points in the axes' order: `from 400 training examples on`."""
    count, total = sum(flags), len(flags)
    if count == total:
        return "at every point" if total > 1 else "at the only point"
    where, index = find_extent(flags) if len(axes) == 1 and axes[0].numbers is not None else (None, None)
    if count == 1:
        return f"at {list_values([points[flags.index(True)]], axes)} (1 of {total} points)"
    if where is None or index is None:
        return f"at {count} of {total} points"
    value = describe_point(points[index])
    return f"from {value} on" if where == "from" else f"up to {value}"


def describe_calls(gain: Gain, call: str, axes: Sequence[AxisUsed]) -> str:
    """Where along the axes a `gain` or `loss` is called; empty where it is at no point."""
    calls = {format_point(item.point): item.call for item in gain.points}
    # All points, those without results among them, at which nothing is called.
    points = list_points([{"field": axis.field, "values": axis.values} for axis in axes])
    flags = [calls.get(format_point(point)) == call for point in points]
    return describe_extent(flags, points, axes) if any(flags) else ""


def summarize_calls(
    metric: Metric, contrasts: Sequence[Contrast], axes: Sequence[AxisUsed], baseline: str
) -> str:
    """In a sentence where along the axes which variants are called better or worse than the baseline."""
    by_variant: dict[str, list[Contrast]] = {}
    for contrast in sort_by_point(contrasts, axes):
        by_variant.setdefault(remove_point(contrast.variant, contrast.point), []).append(contrast)
    clauses = []
    for call in ("gain", "loss"):
        extents = []
        for variant, group in by_variant.items():
            differences = [getattr(item.differences, metric.contrast, None) for item in group]
            flags = [get_call(difference, metric) == call for difference in differences]
            if any(flags):
                extents.append(f"{variant} {describe_extent(flags, [item.point for item in group], axes)}")
        if extents:
            worse = {"higher": "lower", "lower": "higher"}
            direction = metric.direction if call == "gain" else worse[metric.direction or "higher"]
            clauses.append(f"{direction} with {join_some(extents, 'variant')}")
    title = metric.title
    if not clauses:
        points = math.prod(len(axis.values) for axis in axes)
        where = f"any of {points} points" if points > 1 else "the only point"
        return f"{title}: no difference from {baseline} is called at {where}."
    return f"{title}, compared with {baseline}, is {'; it is '.join(clauses)}."


def join_some(texts: Sequence[str], noun: str) -> str:
    """The first of `texts` in a list, and how many more nouns there are."""
    if len(texts) > _MOST_NAMES:
        others = format_count(len(texts) - _MOST_NAMES, f"other {noun}")
        return f"{', '.join(texts[:_MOST_NAMES])} and {others}"
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def build_gain_rows(comparison: Comparison) -> list[list[str]]:
    """The table of gains along the axes, its head first."""
    rows = [["variant", "metric", "gain called", "loss called", "gain crosses zero at (95 % interval)"]]
    for gain in comparison.gains:
        extents = [describe_calls(gain, call, comparison.axes) or UNKNOWN for call in ("gain", "loss")]
        title = METRICS[gain.metric].title.lower()
        rows.append([gain.variant, title, *extents, format_crossing(gain.crossing)])
    return rows


def build_choice_rows(comparison: Comparison) -> list[list[str]]:
    """The table of what validation chooses at each point, its head first."""
    rows = [["point", "chosen by validation loss", "may have the lowest (95 %)"]]
    for item in comparison.points:
        point = list_values([item.point], comparison.axes)
        chosen = item.best.variant if item.best else item.no_best or UNKNOWN
        rows.append([point, chosen, ", ".join(item.may_be_best) or UNKNOWN])
    return rows


def format_crossing(crossing: CrossingPoint | None) -> str:
    """A crossing with its interval: `830 (410 to 1,600)`."""
    if crossing is None:
        return UNKNOWN
    return f"{format_rounded(crossing.value)} ({describe_crossing_interval(crossing)})"


def describe_crossing_interval(crossing: CrossingPoint) -> str:
    """A crossing's interval in words, where an end may lie beyond what was trained: `from 410 on`."""
    low, high = (None if end is None else format_rounded(end) for end in (crossing.low, crossing.high))
    if low and high:
        return f"{low} to {high}"
    return f"from {low} on" if low else f"up to {high}" if high else "the whole axis"


def format_rounded(value: float) -> str:
    """To three significant digits: `0.0123`, `12.3`, `1,230`."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def list_charts(comparison: Comparison) -> list[str]:
    """Where the charts of the axes are."""
    names = ["along-axis", "gain"] if len(comparison.axes) == 1 else ["gain-map"]
    names += ["error-curve"] if any(curve.points for curve in comparison.error_curves) else []
    return [f"Chart: /v1/experiments/{comparison.experiment_id}/charts/{name}?format=svg" for name in names]


def build_error_rows(comparison: Comparison) -> list[list[str]]:
    """The table of the fitted curves, its head first; empty where there is none."""
    rows = [["test error = a + b n^-c", "a (%)", "b", "c"]]
    fitted = [curve for curve in comparison.error_curves if curve.points]
    for curve in fitted:
        numbers = [
            "{} ({} to {})".format(*map(format_rounded, (number.value, number.low, number.high)))
            if number
            else UNKNOWN
            for number in (curve.a, curve.b, curve.c)
        ]
        rows.append([curve.variant, *numbers])
    return rows if fitted else []


def explain_error_curves(comparison: Comparison) -> list[str]:
    """Why curves, or their numbers, are missing, each reason once."""
    variants: dict[str, list[str]] = {}
    for curve in comparison.error_curves:
        if curve.reason:
            variants.setdefault(curve.reason, []).append(curve.variant)
    return [f"{join_some(names, 'variant')}: {reason}" for reason, names in variants.items()]
