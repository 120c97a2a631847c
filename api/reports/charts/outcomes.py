"""What came out: differences from the baseline, the accuracy of each seed, and what accuracy costs."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from api.reports.charts import drawing
from api.reports.schemas import Comparison, Contrast, Difference, VariantReport

MAX_ROWS = 30
_BETTER, _WORSE = drawing.COLOURS[0], drawing.COLOURS[1]
_ROW = 0.46
_LETTERS_A_ROW = 58
_NUMBER = 0.13
"""Inches between two numbers, one above the other."""


def find_contrasted(comparison: Comparison) -> list[Contrast]:
    """The variants that have a difference to show."""
    return [contrast for contrast in comparison.contrasts if contrast.differences]


def find_finished(comparison: Comparison) -> list[VariantReport]:
    """The variants that have a result."""
    return [variant for variant in comparison.variants if variant.metrics]


def draw_differences(comparison: Comparison) -> Figure:
    """A forest plot: each variant's mean difference and 95 % interval, in accuracy and in loss."""
    rows = find_contrasted(comparison)[:MAX_ROWS]
    figure, (left, right) = drawing.create_panels(
        ["test accuracy, points", "test loss, nats"],
        _ROW * len(rows),
        columns=2,
        labels=("variant minus baseline", ""),
        left=0.2,
        share=False,
    )
    margins = {row.equivalence.margin_points for row in rows if row.equivalence}
    if margins:
        margin = max(margins)
        left.axvspan(-margin, margin, color="#eeeeee", zorder=0, linewidth=0)
    for axes, metric, digits in ((left, "test_accuracy_points", 2), (right, "test_loss", 4)):
        for row, contrast in enumerate(rows):
            _draw_interval(axes, row, getattr(contrast.differences, metric), digits)
        axes.axvline(0, color="#444444", linewidth=0.9)
        axes.set_ylim(len(rows) - 0.45, -0.7)
        axes.set_yticks([])
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.12)
    for row, contrast in enumerate(rows):
        _format_row_name(left, row - 0.4, contrast.variant)
    return figure


def _draw_interval(axes: Axes, row: int, difference: Difference, digits: int) -> None:
    if difference.low is not None and difference.high is not None:
        axes.plot(
            [difference.low, difference.high], [row, row], color="black", linewidth=1.4, solid_capstyle="butt"
        )
    axes.plot([difference.mean], [row], marker="o", color="black", markersize=5, linestyle="")
    axes.annotate(
        f"{round(difference.mean, digits) + 0.0:+.{digits}f}",
        (difference.mean, row), xytext=(0, -4), textcoords="offset points", ha="center", va="top", fontsize=7,
        color="#333333",
    )  # fmt: skip


def draw_seeds(comparison: Comparison) -> Figure:
    """Test accuracy of each seed; lines join each variant's to the baseline's of the same seed."""
    rows = find_finished(comparison)[:MAX_ROWS]
    base = next((variant for variant in rows if variant.is_baseline), None)
    before = _get_accuracies(base) if base else {}
    figure, axes = drawing.create_figure(0.5 * len(rows), left=0.25, keys=2)
    for row, variant in enumerate(rows):
        _draw_seed_row(axes, row, variant, {} if variant is base else before)
        _format_row_name(axes, row - 0.42, variant.name + (" (baseline)" if variant is base else ""))
    axes.set_ylim(len(rows) - 0.55, -0.8)
    axes.set_yticks([])
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.05)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("test accuracy, %")
    entries = [(Line2D([], [], marker="o", linestyle="", color="black"), "a seed")]
    if len(rows) > 1 and before:
        hollow = Line2D([], [], marker="o", linestyle="", color="black", markerfacecolor="white")
        entries.append((hollow, "baseline"))
        entries.append((Line2D([], [], color=_BETTER), "better"))
        entries.append((Line2D([], [], color=_WORSE, linestyle=(0, (2, 1.5))), "not better"))
    entries.append(
        (Line2D([], [], marker="|", markersize=9, markeredgewidth=2, linestyle="", color="black"), "mean")
    )
    drawing.draw_legend(figure, entries, columns=3)
    return figure


def _draw_seed_row(axes: Axes, row: int, variant: VariantReport, before: Mapping[int, float]) -> None:
    """The variant's seeds, and above them the baseline's seeds that they are paired with."""
    upper, lower = row - 0.14, row + 0.2
    after = _get_accuracies(variant)
    pairs = [(before[seed], after[seed]) for seed in sorted(before.keys() & after.keys())]
    for better, colour, dash in ((True, _BETTER, "-"), (False, _WORSE, (0, (2, 1.5)))):
        lines = [[(old, upper), (new, lower)] for old, new in pairs if (new > old) == better]
        # Of a hundred seeds each line by itself would take longer to draw than all else.
        axes.add_collection(LineCollection(lines, linewidths=1, colors=colour, linestyles=[dash]))
    paired = [before[seed] for seed in after if seed in before]
    axes.plot(
        paired, [upper] * len(paired), "o", color="black", markerfacecolor="white", markersize=4,
        markeredgewidth=0.9,
    )  # fmt: skip
    axes.plot(list(after.values()), [lower] * len(after), "o", color="black", markersize=4)
    mean = sum(after.values()) / len(after)
    axes.plot([mean], [lower], marker="|", markersize=11, markeredgewidth=2, color="black", linestyle="")


def _get_accuracies(variant: VariantReport) -> dict[int, float]:
    return {seed.seed: 100 * seed.result.test_accuracy for seed in variant.seeds}


def draw_cost(comparison: Comparison) -> Figure:
    """Mean test accuracy against mean seconds of training; numbers at the edge lead to the names below."""
    variants = find_finished(comparison)[:MAX_ROWS]
    places = [_compute_position(variant) for variant in variants]
    # High enough that the numbers at the edge have room.
    height = max(2.2, _NUMBER * len(variants))
    figure, axes = drawing.create_figure(height, right=0.4, keys=len(variants))
    for index, (seconds, accuracy) in enumerate(places):
        colour, marker = _mark(index)
        axes.plot([seconds], [accuracy], marker=marker, color=colour, markersize=6, linestyle="")
        low, high = _compute_accuracy_interval(variants[index])
        axes.plot([seconds, seconds], [low, high], color=colour, linewidth=0.9)
    axes.margins(x=0.08, y=0.12)
    axes.set_xlabel("training, seconds a model")
    axes.set_ylabel("test accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _draw_numbers(axes, places, height)
    entries = []
    for index, variant in enumerate(variants):
        colour, marker = _mark(index)
        handle = Line2D([], [], marker=marker, color=colour, linestyle="")
        entries.append((handle, f"{index + 1} {variant.name}"))
    drawing.draw_legend(figure, entries)
    return figure


def _draw_numbers(axes: Axes, places: Sequence[tuple[float, float]], height: float) -> None:
    """A number for each point beyond the right edge, none on another, with a thin line to its point."""
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    heights = drawing.resolve_overlaps([y for _, y in places], low, high, (high - low) * _NUMBER / height)
    for index, ((x, y), at) in enumerate(zip(places, heights, strict=True), start=1):
        axes.plot([x, right], [y, at], color="#aaaaaa", linewidth=0.5, zorder=1, clip_on=False)
        axes.annotate(
            str(index),
            (right, at),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            annotation_clip=False,
        )
    axes.set_xlim(right=right)
    axes.set_ylim(low, high)


def _mark(index: int) -> tuple[str, str]:
    # Another marker for each eight, so that colour and marker together are one variant's alone.
    shift = index // drawing.MAX_LINES
    return drawing.COLOURS[index % 8], drawing.MARKERS[(index + shift) % len(drawing.MARKERS)]


def _compute_position(variant: VariantReport) -> tuple[float, float]:
    assert variant.metrics is not None  # noqa: S101 (it has finished)
    return variant.metrics.training_seconds.mean, 100 * variant.metrics.test_accuracy.mean


def _compute_accuracy_interval(variant: VariantReport) -> tuple[float, float]:
    assert variant.metrics is not None  # noqa: S101 (it has finished)
    result = variant.metrics.test_accuracy
    if result.low is None or result.high is None:
        return 100 * result.mean, 100 * result.mean
    return 100 * result.low, 100 * result.high


def _format_row_name(axes: Axes, y: float, name: str) -> None:
    """Above its row, where even a long name has room."""
    axes.annotate(
        drawing.truncate_label(name, _LETTERS_A_ROW),
        (0, y),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )
