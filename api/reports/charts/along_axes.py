"""Experiments with axes: metrics and gains along one axis, and a map of the gains over two."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter

from api.reports.axis_schemas import AxisUsed, ErrorCurve, Gain
from api.reports.charts import drawing
from api.reports.points import remove_point
from api.reports.schemas import Comparison, VariantReport
from models.metrics import METRICS

MAX_PANELS = 6
_MAX_TICKS = 8
_HEIGHT = 1.4
_MAX_LABELLED_COLUMNS = 7
"""More cells in a row have no room for numbers."""


def find_lines(comparison: Comparison) -> list[list[VariantReport]]:
    """With one axis, for each variant its reports along it."""
    if len(comparison.axes) != 1:
        return []
    lines: dict[str, list[VariantReport]] = {}
    for variant in comparison.variants:
        if variant.metrics and variant.point:
            lines.setdefault(remove_point(variant.name, variant.point), []).append(variant)
    return list(lines.values())


def find_gains(comparison: Comparison) -> list[Gain]:
    """With one axis, each variant's gain in the first metric that is tested."""
    return _get_first_metric(comparison.gains) if len(comparison.axes) == 1 else []


def find_maps(comparison: Comparison) -> list[Gain]:
    """With two axes the same."""
    return _get_first_metric(comparison.gains) if len(comparison.axes) > 1 else []


def _get_first_metric(gains: Sequence[Gain]) -> list[Gain]:
    return [gain for gain in gains if gain.metric == gains[0].metric]


def draw_metrics(comparison: Comparison) -> Figure:
    """Test accuracy and test loss along the axis: a line a variant, with the 95 % intervals of its means."""
    (axis,) = comparison.axes
    lines = find_lines(comparison)[: drawing.MAX_LINES]
    figure, panels = drawing.create_panels(
        ["test accuracy, %", "test loss, nats"],
        _HEIGHT,
        columns=1,
        labels=(axis.title, ""),
        keys=len(lines),
        share=False,
    )
    for axes, name in zip(panels, ("test_accuracy", "test_loss"), strict=True):
        scale = METRICS[name].format.scale
        for index, line in enumerate(lines):
            summaries = [getattr(variant.metrics, name) for variant in line]
            positions = [get_position(axis, (variant.point or {})[axis.field]) for variant in line]
            numbers = [[one.mean, one.low, one.high] for one in summaries]
            draw_line(axes, axis, positions, scale * np.array(numbers, dtype=float), index)
        set_axis(axes, axis)
    names = [remove_point(line[0].name, line[0].point) for line in lines]
    drawing.draw_legend(figure, list(zip(map(build_handle, range(len(names))), names, strict=True)))
    return figure


def draw_gains(comparison: Comparison) -> Figure:
    """The gain in each tested metric along the axis, with its simultaneous band and its crossing of zero."""
    (axis,) = comparison.axes
    metrics = list(dict.fromkeys(gain.metric for gain in comparison.gains))
    names = [gain.variant for gain in find_gains(comparison)][: drawing.MAX_LINES]
    # The baseline has no gain, but keeps the first colour.
    series = [(index + 1) % drawing.MAX_LINES for index in range(len(names))]
    headings = [f"gain in {METRICS[name].title.lower()}, {METRICS[name].contrast_unit}" for name in metrics]
    figure, panels = drawing.create_panels(
        headings,
        _HEIGHT,
        columns=1,
        labels=(axis.title, ""),
        keys=len(names) + 1,
        share=False,
    )
    for axes, metric in zip(panels, metrics, strict=True):
        axes.axhline(0, color="#444444", linewidth=0.9)
        for gain in comparison.gains:
            if gain.metric == metric and gain.variant in names:
                _draw_gain(axes, axis, gain, series[names.index(gain.variant)])
        set_axis(axes, axis)
    entries = list(zip(map(build_handle, series), names, strict=True))
    filled = Line2D([], [], color=drawing.GREY, marker="o", linestyle="")
    drawing.draw_legend(figure, [*entries, (filled, "filled: called a gain or a loss")])
    return figure


def find_error_curves(comparison: Comparison) -> list[ErrorCurve]:
    """The variants to whose errors a curve was fitted."""
    return [curve for curve in comparison.error_curves if curve.points]


def draw_error_curves(comparison: Comparison) -> Figure:
    """The fitted curves with the intervals of their means, and the mean errors that they were fitted to."""
    curves = find_error_curves(comparison)[: drawing.MAX_LINES]
    figure, axes = drawing.create_figure(2.2, keys=len(curves))
    lines = {remove_point(line[0].name, line[0].point): line for line in find_lines(comparison)}
    (axis,) = comparison.axes
    for index, curve in enumerate(curves):
        colour, sizes = drawing.COLOURS[index], [point.n for point in curve.points]
        axes.plot(
            sizes, [point.value for point in curve.points], color=colour, linestyle=drawing.DASHES[index]
        )
        low, high = ([getattr(point, end) for point in curve.points] for end in ("low", "high"))
        axes.fill_between(sizes, low, high, color=colour, alpha=0.18, linewidth=0)
        measured = {
            get_position(axis, (variant.point or {})[axis.field]): 100
            * (1 - variant.metrics.test_accuracy.mean)
            for variant in lines[curve.variant]
            if variant.metrics
        }
        axes.plot(
            *zip(*measured.items(), strict=True), color=colour, marker=drawing.MARKERS[index], linestyle=""
        )
    set_axis(axes, axis)
    axes.set_xlabel(axis.title)
    axes.set_ylabel("test error, %")
    names = [curve.variant for curve in curves]
    drawing.draw_legend(figure, list(zip(map(build_handle, range(len(names))), names, strict=True)))
    return figure


def draw_maps(comparison: Comparison) -> Figure:
    """The gain at each combination of two axes, a map a variant; what is called has a frame."""
    rows, columns = comparison.axes
    gains = find_maps(comparison)[:MAX_PANELS]
    headings = [drawing.format_heading(gain.variant) for gain in gains]
    height = 0.2 + 0.22 * len(rows.values)
    label = f"{columns.title} (gain in {METRICS[gains[0].metric].title.lower()}, {gains[0].unit})"
    figure, panels = drawing.create_panels(
        headings, max(height, 1.0), columns=2, labels=(label, rows.title), left=0.95
    )
    largest = max(abs(point.mean) for gain in gains for point in gain.points) or 1.0
    for axes, gain in zip(panels, gains, strict=True):
        values = np.full((len(rows.values), len(columns.values)), np.nan)
        for point in gain.points:
            row, column = (axis.values.index(point.point[axis.field]) for axis in (rows, columns))
            values[row, column] = point.mean
            if len(columns.values) <= _MAX_LABELLED_COLUMNS:
                dark = abs(point.mean) > 0.6 * largest
                axes.text(
                    column, row, f"{point.mean:+.2g}", ha="center", va="center", fontsize=6.5,
                    color="white" if dark else "black", weight="bold" if point.call else "normal",
                )  # fmt: skip
            if point.call:
                frame = Rectangle((column - 0.46, row - 0.42), 0.92, 0.84, fill=False, linewidth=1.2)
                axes.add_patch(frame)
        axes.imshow(values, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
        axes.grid(visible=False)
        axes.set_xticks(range(len(columns.values)), _list_ticks(columns))
        axes.set_yticks(range(len(rows.values)), _list_ticks(rows))
    return figure


def _draw_gain(axes: Axes, axis: AxisUsed, gain: Gain, index: int) -> None:
    positions = [get_position(axis, point.point[axis.field]) for point in gain.points]
    numbers = np.array([[point.mean, point.low, point.high] for point in gain.points], dtype=float)
    draw_line(axes, axis, positions, numbers, index)
    hollow = [number for number, point in enumerate(gain.points) if point.call is None]
    colour = drawing.COLOURS[index]
    axes.plot(
        np.array(positions)[hollow], numbers[hollow, 0], marker=drawing.MARKERS[index], linestyle="",
        color=colour, markerfacecolor="white",
    )  # fmt: skip
    if gain.crossing and gain.crossing.low and gain.crossing.high:
        axes.plot([gain.crossing.low, gain.crossing.high], [0, 0], color=colour, linewidth=4, alpha=0.5)


def draw_line(
    axes: Axes, axis: AxisUsed, positions: Sequence[float], numbers: np.ndarray[Any, Any], index: int
) -> None:
    """Means in the first column of `numbers`, and the ends of their intervals, NaN where there is none."""
    colour = drawing.COLOURS[index]
    joined = axis.scale != "categories"
    axes.plot(
        positions, numbers[:, 0], color=colour, marker=drawing.MARKERS[index],
        linestyle=drawing.DASHES[index] if joined else "",
    )  # fmt: skip
    if joined:
        axes.fill_between(positions, numbers[:, 1], numbers[:, 2], color=colour, alpha=0.18, linewidth=0)
    else:
        axes.vlines(positions, numbers[:, 1], numbers[:, 2], color=colour, linewidth=1)


def build_handle(index: int) -> Line2D:
    return Line2D(
        [], [], color=drawing.COLOURS[index], linestyle=drawing.DASHES[index], marker=drawing.MARKERS[index]
    )


def get_position(axis: AxisUsed, value: Any) -> float:
    index = axis.values.index(value)
    return axis.numbers[index] if axis.numbers is not None else float(index)


def set_axis(axes: Axes, axis: AxisUsed) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if axis.scale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
    if axis.numbers is None:
        axes.set_xlim(-0.5, len(axis.values) - 0.5)
    # The values that were trained; of many only as many as have room.
    every = -(-len(axis.values) // _MAX_TICKS)
    positions = axis.numbers or list(range(len(axis.values)))
    axes.set_xticks(positions[::every], _list_ticks(axis)[::every])


def _list_ticks(axis: AxisUsed) -> list[str]:
    if axis.numbers is not None:
        return [f"{number:,g}" if number < 1e6 else f"{number:.2g}" for number in axis.numbers]
    return [drawing.truncate_label(str(value), 12) for value in axis.values]
