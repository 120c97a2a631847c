"""A report on a terminal: the headline, each difference as a line, and the table of means to the width."""

from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.metrics import METRICS, VARIANT_METRICS, Metric, format_signed_interval
from models.run_key import format_axis_value, name_axis
from regbench.base import to_one_line
from regbench.reports import Contrast, Report

_MAX_NAME = 24
_MIN_LINE = 12
_MAX_LINE = 60
# Narrower than these many columns the numbers of an interval are left out.
_WIDE = 70


def print_report(report: Report, console: Console, address: str) -> None:
    """The report in short; `address` has all of it."""
    console.print(Text(to_one_line(report.title), style="bold"))
    console.print(Text(to_one_line(report.headline)))
    if not report.complete:
        partial = f"Partial: {report.finished} of {report.jobs} jobs have finished."
        console.print(Text(partial, style="yellow"))
    for metric in METRICS.values():
        if metric.compared == "tested":
            _print_forest(report.contrasts, metric, report.baseline, console)
    console.print()
    console.print(_build_table(report))
    console.print(Text(f"All of it: {address}\nor add --format md", style="dim"), soft_wrap=True)


def _print_forest(contrasts: Sequence[Contrast], metric: Metric, baseline: str, console: Console) -> None:
    groups: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for contrast in contrasts:
        difference = (contrast.differences or {}).get(metric.contrast)
        if difference is not None:
            variant = to_one_line(contrast.variant)
            heading = ", by ".join([variant, _name_axes(contrast.point)]) if contrast.point else ""
            name = f"  {_format_values(contrast.point)}" if contrast.point else variant
            groups.setdefault(heading, []).append((name, difference))
    rows = [row for group in groups.values() for row in group]
    if not rows:
        return
    ends = [end for _, difference in rows for end in (*_get_interval(difference), difference["mean"], 0.0)]
    low, high = min(ends), max(ends)
    name_width = min(_MAX_NAME, max(len(name) for name, _ in rows))
    wide = console.width >= _WIDE
    texts = [_format_numbers(difference, metric, with_interval=wide) for _, difference in rows]
    free = console.width - name_width - max(map(len, texts)) - 3
    width = max(_MIN_LINE, min(free, _MAX_LINE))
    console.print()
    title = f"{metric.title}, difference from {to_one_line(baseline)} ({metric.contrast_unit})"
    console.print(Text(title, style="bold", no_wrap=True, overflow="ellipsis"))
    for heading, group in groups.items():
        if heading:
            console.print(Text(heading, no_wrap=True, overflow="ellipsis"))
        for name, difference in group:
            line = draw_interval(difference, low, high, width, encoding=console.encoding)
            style = ""
            if difference.get("call"):
                style = "green" if difference["call"] == metric.direction else "red"
            fitted = name if len(name) <= name_width else f"{name[: name_width - 1]}…"
            row = Text(f"{fitted:<{name_width}} ")
            row.append(line, style=style)
            row.append(" " + _format_numbers(difference, metric, with_interval=wide))
            console.print(row, no_wrap=True, overflow="ellipsis", crop=True)


def _name_axes(point: Mapping[str, Any]) -> str:
    return to_one_line(" and ".join(map(name_axis, point)))


def _format_values(point: Mapping[str, Any]) -> str:
    return to_one_line(", ".join(starmap(format_axis_value, point.items())))


def draw_interval(
    difference: Mapping[str, Any], low: float, high: float, width: int, *, encoding: str
) -> str:
    """The interval between `low` and `high` in `width` characters; filled where the difference is called."""
    has_unicode = encoding.lower().startswith("utf")
    zero, bar, called, open_ = "│─●○" if has_unicode else "|-*o"

    def get_column(value: float) -> int:
        return round((width - 1) * (value - low) / (high - low)) if high > low else 0

    cells = [" "] * width
    ends = _get_interval(difference)
    if ends:
        first, last = map(get_column, ends)
        cells[first : last + 1] = bar * (last + 1 - first)
    cells[get_column(0.0)] = zero
    cells[get_column(difference["mean"])] = called if difference.get("call") else open_
    return "".join(cells)


def _get_interval(difference: Mapping[str, Any]) -> tuple[float, ...]:
    ends = (difference.get("simultaneous_low"), difference.get("simultaneous_high"))
    return () if None in ends else ends  # type: ignore[return-value]  # checked


def _format_numbers(difference: Mapping[str, Any], metric: Metric, *, with_interval: bool) -> str:
    low, high = (_get_interval(difference) if with_interval else ()) or (None, None)
    return format_signed_interval(difference["mean"], low, high, metric.format.digits)


def _build_table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    points = [variant.point for variant in report.variants if variant.point]
    if points:
        width = min(_MIN_LINE, max(map(len, map(_format_values, points))))
        table.add_column(_name_axes(points[0]), justify="right", min_width=width, max_width=_MAX_NAME)
    table.add_column("variant", no_wrap=True, overflow="ellipsis", min_width=8)
    table.add_column("seeds", justify="right", no_wrap=True)
    metrics = VARIANT_METRICS[: 3 if points else 4]
    for metric in metrics:
        table.add_column(metric.heading, justify="right")
    for variant in report.variants:
        name = to_one_line(variant.name) + (" *" if variant.is_baseline else "")
        means = [_format_mean(variant.metrics, metric) for metric in metrics]
        point = [Text(_format_values(variant.point))] if variant.point else []
        table.add_row(*point, Text(name), str(variant.n), *means)
    table.caption = "* baseline; ± half of the 95 % interval over seeds"
    table.caption_justify = "left"
    return table


def _format_mean(metrics: Mapping[str, Any] | None, metric: Metric) -> str:
    summary = (metrics or {}).get(metric.name)
    if summary is None:
        return "-"
    low, high = summary.get("low"), summary.get("high")
    return metric.format_value(summary["mean"], 0.0 if low is None or high is None else (high - low) / 2)
