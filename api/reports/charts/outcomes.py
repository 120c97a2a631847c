"""Results: differences from the baseline, the accuracy of each seed, and accuracy against training time."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from api.reports.charts import drawing
from api.reports.contrasts import RunId
from api.reports.formatting import get_interval
from api.reports.schemas import Comparison, Contrast, Difference, VariantReport
from models.metrics import choose_interval_digits, format_signed
from models.run_key import NO_PART
from models.statistics import CONFIDENCE

MAX_ROWS = 30
_BETTER, _WORSE = drawing.BLUE, drawing.ORANGE
_ROW_HEIGHT = 0.46
_STACK_HEIGHT = 0.2
"""Of a row: over how much dots of equal values are stacked."""
_LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""Of a text that a line may cross."""
_LABEL_LENGTH = 58
_LABEL_SPACING = 0.13
"""Inches between the numbers that label points one above the other."""
_LABEL_LIFT = 4
"""Points by which numbers stand above the lines of their intervals."""
_COLUMN_WIDTH = 0.06
"""Points nearer than this share of the horizontal axis would have overlapping numbers."""


def find_contrasted(comparison: Comparison) -> list[Contrast]:
    """The variants that have a difference to show."""
    return [contrast for contrast in comparison.contrasts if contrast.differences]


def find_finished(comparison: Comparison) -> list[VariantReport]:
    """The variants that have a result."""
    return [variant for variant in comparison.variants if variant.metrics]


def draw_differences(comparison: Comparison) -> Figure:
    """A forest plot: each variant's mean difference and its interval, in accuracy and in loss."""
    contrasts = find_contrasted(comparison)[:MAX_ROWS]
    metrics = {"test_accuracy_points": ("test accuracy, points", 2), "test_loss": ("test loss, nats", 4)}
    differences: dict[str, list[Difference]] = {
        metric: [getattr(contrast.differences, metric) for contrast in contrasts] for metric in metrics
    }
    figure, (left, right) = drawing.create_panels(
        [
            label + _name_intervals(differences[metric], comparison.level)
            for metric, (label, _) in metrics.items()
        ],
        _ROW_HEIGHT * len(contrasts),
        columns=2,
        labels=("variant minus baseline", ""),
        keys=1,
        left=0.2,
        share=False,
    )
    for axes, (metric, (_, digits)) in zip((left, right), metrics.items(), strict=True):
        margins = [item.equivalence.margin for item in differences[metric] if item.equivalence]
        if margins:
            axes.axvspan(-max(margins), max(margins), color="#eeeeee", zorder=0, linewidth=0)
        for row, difference in enumerate(differences[metric]):
            low, high = get_interval(difference)
            shown = choose_interval_digits(difference.mean, (low, high), digits)
            if low is not None and high is not None:
                axes.plot([low, high], [row, row], color="black", linewidth=1.4, solid_capstyle="butt")
            axes.plot(
                [difference.mean], [row], marker="o", color="black", markersize=5, linestyle="",
                markerfacecolor="black" if difference.call else "white",
            )  # fmt: skip
            axes.annotate(
                format_signed(difference.mean, shown),
                (difference.mean, row), xytext=(0, -4), textcoords="offset points", ha="center", va="top",
                fontsize=7, color="#333333", bbox=_LABEL_BOX,
            )  # fmt: skip
        axes.axvline(0, color="#444444", linewidth=0.9)
        axes.set_ylim(len(contrasts) - 0.45, -0.7)
        axes.set_yticks([])
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.12)
    for row, contrast in enumerate(contrasts):
        _draw_row_label(left, row - 0.4, contrast.variant)
    entries = [
        (Line2D([], [], marker="o", linestyle="", color="black"), "called higher or lower"),
        (Line2D([], [], marker="o", linestyle="", color="black", markerfacecolor="white"), "not called"),
    ]
    drawing.draw_legend(figure, entries, columns=2)
    return figure


def _name_intervals(differences: Sequence[Difference], level: float) -> str:
    """A line that says how confident these intervals are; empty where there are none."""
    if all(None in get_interval(difference) for difference in differences):
        return ""
    confidence = 1 - level if differences[0].tested else CONFIDENCE
    return f"\n{100 * confidence:g} % intervals"


def draw_seeds(comparison: Comparison) -> Figure:
    """Test accuracy of each model; lines join each variant's to the baseline's of the same seed and part."""
    variants = find_finished(comparison)[:MAX_ROWS]
    baseline = next((variant for variant in variants if variant.is_baseline), None)
    before = _get_accuracies(baseline) if baseline else {}
    figure, axes = drawing.create_figure(0.5 * len(variants), left=0.25, keys=2)
    for row, variant in enumerate(variants):
        _draw_seed_row(axes, row, variant, {} if variant is baseline else before)
        _draw_row_label(axes, row - 0.42, variant.name + (" (baseline)" if variant is baseline else ""))
    axes.set_ylim(len(variants) - 0.55, -0.8)
    axes.set_yticks([])
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.05)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlabel("test accuracy, %")
    entries = [(Line2D([], [], marker="o", linestyle="", color="black"), "a model")]
    if len(variants) > 1 and before:
        hollow = Line2D([], [], marker="o", linestyle="", color="black", markerfacecolor="white")
        entries.append((hollow, "baseline"))
        entries.append((Line2D([], [], color=_BETTER), "better"))
        entries.append((Line2D([], [], color=_WORSE, linestyle=(0, (2, 1.5))), "not better"))
    entries.append(
        (Line2D([], [], marker="|", markersize=9, markeredgewidth=2, linestyle="", color="black"), "mean")
    )
    drawing.draw_legend(figure, entries, columns=3)
    return figure


def _draw_seed_row(axes: Axes, row: int, variant: VariantReport, before: Mapping[RunId, float]) -> None:
    """The variant's models, and above them the baseline's models that they are paired with."""
    upper, lower = row - 0.14, row + 0.2
    after = _get_accuracies(variant)
    old = _stack_ties({run: before[run] for run in after if run in before}, upper, -_STACK_HEIGHT)
    new = _stack_ties(after, lower, _STACK_HEIGHT)
    for better, colour, dash in ((True, _BETTER, "-"), (False, _WORSE, (0, (2, 1.5)))):
        lines = [[old[run], new[run]] for run in sorted(old) if (after[run] > before[run]) == better]
        # One collection: drawing a hundred lines one by one would take longer than the rest of the chart.
        axes.add_collection(LineCollection(lines, linewidths=1, colors=colour, linestyles=[dash]))
    axes.plot(
        [x for x, _ in old.values()], [y for _, y in old.values()], "o", color="black",
        markerfacecolor="white", markersize=4, markeredgewidth=0.9,
    )  # fmt: skip
    axes.plot([x for x, _ in new.values()], [y for _, y in new.values()], "o", color="black", markersize=4)
    mean = sum(after.values()) / len(after)
    axes.plot([mean], [lower], marker="|", markersize=11, markeredgewidth=2, color="black", linestyle="")


def _stack_ties(values: Mapping[RunId, float], y: float, height: float) -> dict[RunId, tuple[float, float]]:
    """Where each model's dot lies: equal values one beside the other, from `y` on over `height`."""
    runs_by_value: dict[float, list[RunId]] = {}
    for run, value in values.items():
        runs_by_value.setdefault(value, []).append(run)
    most = max(map(len, runs_by_value.values()), default=1)
    step = height / max(3, most)
    return {
        run: (value, y + step * index)
        for value, runs in runs_by_value.items()
        for index, run in enumerate(runs)
    }


def _get_accuracies(variant: VariantReport) -> dict[RunId, float]:
    accuracies = {
        (item.seed, NO_PART if item.part is None else item.part): item.result.test_accuracy
        for item in variant.seeds
    }
    return {run: 100 * accuracy for run, accuracy in accuracies.items() if accuracy is not None}


def draw_cost(comparison: Comparison) -> Figure:
    """Mean test accuracy against mean seconds of training, each with its interval; the legend has numbers."""
    variants = find_finished(comparison)[:MAX_ROWS]
    # High enough for the numbers, should all points lie one above the other.
    height = max(2.2, _LABEL_SPACING * len(variants))
    figure, axes = drawing.create_figure(height, right=0.4, keys=len(variants))
    points = []
    entries = []
    for index, variant in enumerate(variants):
        assert variant.metrics is not None  # noqa: S101 (it has finished)
        seconds, accuracy = variant.metrics.training_seconds, variant.metrics.test_accuracy
        # A different shift for each eight variants, so that no two have both colour and marker in common.
        marker = drawing.MARKERS[(index + index // drawing.MAX_LINES) % len(drawing.MARKERS)]
        style: dict[str, Any] = {"color": drawing.COLOURS[index % drawing.MAX_LINES], "marker": marker}
        x, y = seconds.mean, 100 * accuracy.mean
        axes.plot([x], [y], markersize=6, linestyle="", **style)
        if accuracy.low is not None and accuracy.high is not None:
            axes.plot([x, x], [100 * accuracy.low, 100 * accuracy.high], color=style["color"], linewidth=0.9)
        if seconds.low is not None and seconds.high is not None:
            axes.plot([max(0.0, seconds.low), seconds.high], [y, y], color=style["color"], linewidth=0.9)
        points.append((x, y))
        entries.append((Line2D([], [], linestyle="", **style), f"{index + 1} {variant.name}"))
    axes.margins(x=0.08, y=0.12)
    axes.set_xlabel("training, seconds a model")
    axes.set_ylabel("test accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _draw_numbers(axes, points, height)
    drawing.draw_legend(figure, entries)
    return figure


def _draw_numbers(axes: Axes, points: Sequence[tuple[float, float]], height: float) -> None:
    """Number the points at their right, without overlaps among points that lie one above the other."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    spacing = (high - low) * _LABEL_SPACING / height
    # The topmost one has to stay inside the figure; an inch has 72 points.
    high -= (high - low) * _LABEL_LIFT / 72 / height
    column: list[int] = []
    order = sorted(range(len(points)), key=lambda index: points[index][0])
    for index, following in zip(order, [*order[1:], None], strict=True):
        column.append(index)
        if following is not None and points[following][0] - points[index][0] < _COLUMN_WIDTH * (right - left):
            continue
        heights = drawing.resolve_overlaps([points[each][1] for each in column], low, high, spacing)
        for each, label_y in zip(column, heights, strict=True):
            axes.annotate(
                str(each + 1), (points[each][0], label_y), xytext=(5, _LABEL_LIFT),
                textcoords="offset points", va="center", fontsize=7.5, annotation_clip=False,
            )  # fmt: skip
        column = []


def _draw_row_label(axes: Axes, y: float, name: str) -> None:
    """Write a variant's name above its row, where even a long one fits."""
    axes.annotate(
        drawing.truncate_label(name, _LABEL_LENGTH), (0, y), xycoords=("axes fraction", "data"), va="center",
        fontsize=8, annotation_clip=False, bbox=_LABEL_BOX,
    )  # fmt: skip
