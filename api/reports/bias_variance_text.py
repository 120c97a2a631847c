"""Bias and variance in words and rows. Pure."""

import csv
import io
import math
from collections.abc import Sequence

from api.reports.axis_schemas import AxisUsed
from api.reports.bias_variance_schemas import BiasVarianceDifference, BiasVarianceItem, BiasVarianceReport
from api.reports.csv_table import escape_formula
from api.reports.formatting import UNKNOWN
from models.decompositions import CrossEntropyParts, Measured
from models.formatting import format_count
from models.metrics import choose_interval_digits, format_signed
from models.run_key import describe_point, name_variant

EXPLANATION = (
    "Each variant was trained on disjoint parts of the training examples. Its bias is the test loss of the "
    "average of its models' predictions: what averaging over training sets does not remove. Its variance is "
    "how far the models lie from that average: what another training set of this size would change. The two "
    "add up to the mean test loss, in nats of cross-entropy."
)
_PARTS = ("bias", "variance")
_MAX_SENTENCES = 3
"""Of more variants the headline names two."""


def build_answers(
    report: BiasVarianceReport,
    comparable: Sequence[BiasVarianceItem],
    axes: Sequence[AxisUsed],
    baseline: str,
) -> list[str]:
    """In a sentence each what variants change, what the axis changes, and where the loss is lowest.

    `comparable` are the items that were measured on the same test images.
    """
    measured = [item for item in comparable if item.cross_entropy]
    if len(measured) < 2:
        return []
    sentences = []
    for one in _select_differences(report, axes):
        point = describe_point(one.point)
        where = f", at {point}" if point else ""
        change = _describe_change(one.cross_entropy)
        sentences.append(f"{one.variant} compared with {one.baseline}{where}: {change}.")
    sentences += [_describe_trend(trend, measured) for trend in report.trends if trend.variant == baseline]
    lowest = min(measured, key=lambda item: _get_value(item, "mean_loss"))
    name = name_variant(lowest.variant, lowest.point)
    bias, variance = (f"{_get_value(lowest, part):.3f}" for part in ("bias", "variance"))
    sentences.append(
        f"The loss is lowest with {name}: {_get_value(lowest, 'mean_loss'):.3f} nats, of which the bias is "
        f"{bias} and the variance {variance}."
    )
    return sentences


def _select_differences(report: BiasVarianceReport, axes: Sequence[AxisUsed]) -> list[BiasVarianceDifference]:
    """What the headline tells: with one axis of numbers at its ends, with other axes nothing."""
    differences = report.differences
    if axes:
        if len(axes) > 1 or axes[0].numbers is None:
            return []
        values = axes[0].values
        ends = [{axes[0].field: value} for value in (values[-1], values[0])[: len(values)]]
        differences = [one for end in ends for one in differences if one.point == end]
    if len({one.variant for one in differences}) <= _MAX_SENTENCES:
        return differences
    items = [item for item in report.items or () if item.cross_entropy]
    names = [
        min(items, key=lambda item: _get_value(item, part)).variant for part in ("mean_loss", "variance")
    ]
    return [one for one in differences if one.variant in names]


def _describe_trend(trend: BiasVarianceDifference, measured: Sequence[BiasVarianceItem]) -> str:
    """The variance may rise and fall, so its highest point is named."""
    line = [item for item in measured if item.variant == trend.variant]
    highest = max(line, key=lambda item: _get_value(item, "variance"))
    first, last = (describe_point(point) for point in (trend.baseline_point, trend.point))
    change = _describe_change(trend.cross_entropy)
    return (
        f"{trend.variant}, {last} compared with {first}: {change}. Its "
        f"variance is highest at {describe_point(highest.point)}: {_get_value(highest, 'variance'):.3f} nats."
    )


def _describe_change(change: CrossEntropyParts) -> str:
    return "; ".join(_describe_part(part, getattr(change, part)) for part in ("variance", "bias"))


def _describe_part(part: str, change: Measured) -> str:
    value, low, high = (
        _format_number(number, change, signed=True) for number in (change.value, change.low, change.high)
    )
    if change.low is None or change.high is None:
        return f"{part} {value} nats, without an interval"
    if change.low <= 0 <= change.high:
        return f"no difference in {part} is shown ({value} nats, 95 % interval {low} to {high})"
    direction, ends = ("higher", (low, high)) if change.low > 0 else ("lower", (high, low))
    value, low, high = (number.lstrip("+-") for number in (value, *ends))
    return f"{part} {direction} by {value} nats (95 % interval {low} to {high})"


def build_rows(report: BiasVarianceReport) -> list[list[str]]:
    """The table of the cross-entropy's parts and their differences from the baseline, its head first."""
    differences = {name_variant(one.variant, one.point): one.cross_entropy for one in report.differences}
    head = ["variant", "bias", "variance", "their sum", "bias minus baseline", "variance minus baseline"]
    rows = [[*head, "seeds"]]
    for item in report.items or ():
        name, loss = name_variant(item.variant, item.point), item.cross_entropy
        cells = [_format_measured(getattr(loss, part, None)) for part in ("bias", "variance", "mean_loss")]
        cells += [
            _format_measured(getattr(differences.get(name), part, None), signed=True) for part in _PARTS
        ]
        rows.append([name, *cells, str(item.seeds)])
    return rows


def list_notes(report: BiasVarianceReport) -> list[str]:
    """How to read the table, and why it lacks what it lacks."""
    reasons = dict.fromkeys(item.reason for item in report.items or () if not item.seeds)
    missing = [
        f"Without numbers: {format_count(sum(item.reason == reason for item in report.items or ()), 'row')}; "
        f"{reason}."
        for reason in reasons
        if reason
    ]
    names = {name_variant(one.variant, one.point) for one in report.differences}
    baseline = {one.baseline for one in report.differences}
    measured = [item for item in report.items or () if item.cross_entropy]
    if not baseline and len({item.variant for item in measured}) > 1:
        missing.append(
            "Without differences: no variant shares a complete seed and the test images with the baseline."
        )
    apart = [
        name
        for item in measured
        if item.variant not in baseline
        if (name := name_variant(item.variant, item.point)) not in names
    ]
    if baseline and apart:
        missing.append(
            f"Without a difference from the baseline, with which it shares no complete seed or not the test "
            f"images: {', '.join(apart)}."
        )
    return [EXPLANATION, *([report.intervals] if report.intervals else []), *missing]


def render_csv(report: BiasVarianceReport) -> str:
    """A row for each number, with its interval; what is unknown is empty."""
    items = report.items or []
    fields = list(dict.fromkeys(name for item in items for name in item.point or {}))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["variant", *fields, "parts", "seeds", "loss", "part", "value", "low", "high"])
    for item in items:
        point = [(item.point or {}).get(name) for name in fields]
        for loss in ("cross_entropy", "brier", "zero_one", "due_to"):
            parts: dict[str, Measured] = vars(getattr(item, loss)) if getattr(item, loss) else {}
            for part, number in parts.items():
                writer.writerow(
                    [
                        *(escape_formula(item.variant), *point, item.parts, item.seeds, loss, part),
                        *(number.value, number.low, number.high),
                    ]
                )
    return text.getvalue()


def _get_value(item: BiasVarianceItem, part: str) -> float:
    value: float = getattr(item.cross_entropy, part).value
    return value


def _format_measured(measured: Measured | None, *, signed: bool = False) -> str:
    if measured is None:
        return UNKNOWN
    value, low, high = (
        _format_number(number, measured, signed=signed)
        for number in (measured.value, measured.low, measured.high)
    )
    return f"{value} ({low} to {high})" if low else value


def _format_number(number: float | None, measured: Measured, *, signed: bool = False) -> str:
    """Three digits after the point, or two of the value that matter if it is smaller; never `-0.000`.

    A few more if that shows on which side of zero the interval ends.
    """
    if number is None:
        return ""
    size = abs(measured.value)
    digits = 3 if size >= 0.01 or not size else min(1 - math.floor(math.log10(size)), 6)
    digits = choose_interval_digits(measured.value, (measured.low, measured.high), digits)
    return format_signed(number, digits) if signed else f"{round(number, digits) + 0.0:.{digits}f}"
