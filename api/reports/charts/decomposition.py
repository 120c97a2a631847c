"""Bias and variance: lines along an axis, or their sum as a bar a variant."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from api.reports.bias_variance_schemas import BiasVarianceItem
from api.reports.charts import drawing
from api.reports.charts.along_axes import build_handle, draw_line, get_position, set_axis
from api.reports.schemas import Comparison
from models.run_key import name_variant

MAX_ROWS = 30
_PARTS = {"bias": "bias, nats", "variance": "variance, nats", "mean_loss": "their sum: test loss, nats"}
_REACH = 0.35
"""Of the means' range: how far beyond them a plot reaches, so that wide intervals do not flatten it."""


def find_decomposed(comparison: Comparison) -> list[BiasVarianceItem]:
    """What has been decomposed: rows of the chart, or points of its lines."""
    items = comparison.bias_variance.items if comparison.bias_variance else None
    return [item for item in items or () if item.cross_entropy]


def find_rows(comparison: Comparison) -> list[object]:
    """The bars, or lines, of the chart."""
    items = find_decomposed(comparison)
    return list(dict.fromkeys(item.variant for item in items)) if _has_lines(comparison) else [*items]


def _has_lines(comparison: Comparison) -> bool:
    return len(comparison.axes) == 1 and comparison.axes[0].numbers is not None


def draw(comparison: Comparison) -> Figure:
    """Bias, variance and their sum."""
    return _draw_lines(comparison) if _has_lines(comparison) else _draw_bars(comparison)


def _draw_lines(comparison: Comparison) -> Figure:
    (axis,) = comparison.axes
    items = find_decomposed(comparison)
    names = list(dict.fromkeys(item.variant for item in items))[: drawing.MAX_LINES]
    figure, panels = drawing.create_panels(
        list(_PARTS.values()), 1.2, columns=1, labels=(axis.title, ""), keys=len(names), share=False
    )
    for axes, part in zip(panels, _PARTS, strict=True):
        means = []
        for index, name in enumerate(names):
            line = [item for item in items if item.variant == name]
            positions = [get_position(axis, (item.point or {})[axis.field]) for item in line]
            measured = [getattr(item.cross_entropy, part) for item in line]
            numbers = np.array([[one.value, one.low, one.high] for one in measured], dtype=float)
            draw_line(axes, axis, positions, numbers, index)
            means += numbers[:, 0].tolist()
        margin = _REACH * (max(means) - min(means)) or 0.1
        axes.set_ylim(max(0.0, min(means) - margin), max(means) + margin)
        set_axis(axes, axis)
    drawing.draw_legend(figure, list(zip(map(build_handle, range(len(names))), names, strict=True)))
    return figure


def _draw_bars(comparison: Comparison) -> Figure:
    items = find_decomposed(comparison)[:MAX_ROWS]
    figure, axes = drawing.create_figure(0.42 * len(items), left=0.25, keys=2)
    for row, item in enumerate(items):
        _draw_bar(axes, row, item)
    sums = [item.cross_entropy.mean_loss.value for item in items if item.cross_entropy]
    axes.set_xlim(0, 1.15 * max(sums))
    axes.set_ylim(len(items) - 0.5, -0.75)
    axes.set_yticks([])
    axes.grid(axis="x")
    axes.set_xlabel("test loss, nats")
    entries = [
        (Patch(color=drawing.BLUE), "bias"),
        (Patch(color=drawing.COLOURS[5], hatch="//"), "variance"),
    ]
    drawing.draw_legend(figure, entries)
    return figure


def _draw_bar(axes: Axes, row: int, item: BiasVarianceItem) -> None:
    """The bias from zero on with its interval, and beyond it the variance, whose interval stands lower."""
    loss = item.cross_entropy
    if loss is None:
        return
    start = loss.bias.value
    axes.barh(row, start, 0.36, color=drawing.BLUE)
    axes.barh(row, loss.variance.value, 0.36, start, color=drawing.COLOURS[5], hatch="//", edgecolor="white")
    for shift, one, left in ((-0.06, loss.bias, 0.0), (0.06, loss.variance, start)):
        if one.low is not None and one.high is not None:
            axes.hlines(row + shift, left + max(one.low, 0.0), left + one.high, color="black", linewidth=1)
    total = f"{start:.3f} + {loss.variance.value:.3f} = {loss.mean_loss.value:.3f}"
    where = axes.get_yaxis_transform()
    axes.text(1, row - 0.32, total, ha="right", va="center", fontsize=7, color="#333333", transform=where)
    name = name_variant(item.variant, item.point)
    axes.text(
        0.005,
        row - 0.32,
        drawing.truncate_label(name, 36),
        ha="left",
        va="center",
        fontsize=7.5,
        transform=where,
    )
