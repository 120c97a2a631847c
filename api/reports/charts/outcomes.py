"""What came out: differences from the baseline, the accuracy of each seed, and what accuracy costs."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from api.reports.charts import drawing
from api.reports.schemas import Comparison, Contrast, Difference, VariantReport

MOST_ROWS = 30
_BETTER, _WORSE = drawing.COLOURS[0], drawing.COLOURS[1]
_ROW = 0.46
_LETTERS_A_ROW = 58
_NUMBER = 0.13
"""Inches between two numbers, one above the other."""


def contrasted(comparison: Comparison) -> list[Contrast]:
    """The variants that have a difference to show."""
    return [contrast for contrast in comparison.contrasts if contrast.differences]


def finished(comparison: Comparison) -> list[VariantReport]:
    """The variants that have a result."""
    return [variant for variant in comparison.variants if variant.metrics]


def differences(comparison: Comparison) -> Figure:
    """A forest plot: each variant's mean difference and 95 % interval, in accuracy and in loss."""
    rows = contrasted(comparison)[:MOST_ROWS]
    figure, (left, right) = drawing.panels(
        ["test accuracy, points", "test loss, nats"],
        _ROW * len(rows),
        columns=2,
        labels=("variant minus baseline", ""),
        left=0.2,
        share=False,
    )
    margins = {each.equivalence.margin_points for each in rows if each.equivalence}
    if margins:
        margin = max(margins)
        left.axvspan(-margin, margin, color="#eeeeee", zorder=0, linewidth=0)
    for axes, metric, digits in ((left, "test_accuracy_points", 2), (right, "test_loss", 4)):
        for row, contrast in enumerate(rows):
            _interval(axes, row, getattr(contrast.differences, metric), digits)
        axes.axvline(0, color="#444444", linewidth=0.9)
        axes.set_ylim(len(rows) - 0.45, -0.7)
        axes.set_yticks([])
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.12)
    for row, contrast in enumerate(rows):
        _row_name(left, row - 0.4, contrast.variant)
    return figure


def _interval(axes: Axes, row: int, found: Difference, digits: int) -> None:
    if found.low is not None and found.high is not None:
        axes.plot([found.low, found.high], [row, row], color="black", linewidth=1.4, solid_capstyle="butt")
    axes.plot([found.mean], [row], marker="o", color="black", markersize=5, linestyle="")
    axes.annotate(
        f"{round(found.mean, digits) + 0.0:+.{digits}f}",
        (found.mean, row), xytext=(0, -4), textcoords="offset points", ha="center", va="top", fontsize=7,
        color="#333333",
    )  # fmt: skip


def seeds(comparison: Comparison) -> Figure:
    """Test accuracy of each seed; lines join each variant's to the baseline's of the same seed."""
    rows = finished(comparison)[:MOST_ROWS]
    base = next((variant for variant in rows if variant.is_baseline), None)
    before = _accuracies(base) if base else {}
    figure, axes = drawing.single(0.5 * len(rows), left=0.25, keys=2)
    for row, variant in enumerate(rows):
        _seed_row(axes, row, variant, {} if variant is base else before)
        _row_name(axes, row - 0.42, variant.name + (" (baseline)" if variant is base else ""))
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
    drawing.key(figure, entries, columns=3)
    return figure


def _seed_row(axes: Axes, row: int, variant: VariantReport, before: Mapping[int, float]) -> None:
    """The variant's seeds, and above them the baseline's seeds that they are paired with."""
    upper, lower = row - 0.14, row + 0.2
    after = _accuracies(variant)
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


def _accuracies(variant: VariantReport) -> dict[int, float]:
    return {each.seed: 100 * each.result.test_accuracy for each in variant.seeds}


def cost(comparison: Comparison) -> Figure:
    """Mean test accuracy against mean seconds of training; numbers at the edge lead to the names below."""
    shown = finished(comparison)[:MOST_ROWS]
    places = [_place(variant) for variant in shown]
    # High enough that the numbers at the edge have room.
    height = max(2.2, _NUMBER * len(shown))
    figure, axes = drawing.single(height, right=0.4, keys=len(shown))
    for number, (seconds, accuracy) in enumerate(places):
        colour, marker = _mark(number)
        axes.plot([seconds], [accuracy], marker=marker, color=colour, markersize=6, linestyle="")
        low, high = _accuracy_interval(shown[number])
        axes.plot([seconds, seconds], [low, high], color=colour, linewidth=0.9)
    axes.margins(x=0.08, y=0.12)
    axes.set_xlabel("training, seconds a model")
    axes.set_ylabel("test accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _numbers(axes, places, height)
    entries = []
    for number, variant in enumerate(shown):
        colour, marker = _mark(number)
        handle = Line2D([], [], marker=marker, color=colour, linestyle="")
        entries.append((handle, f"{number + 1} {variant.name}"))
    drawing.key(figure, entries)
    return figure


def _numbers(axes: Axes, places: Sequence[tuple[float, float]], height: float) -> None:
    """A number for each point beyond the right edge, none on another, with a thin line to its point."""
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    heights = drawing.spread([y for _, y in places], low, high, (high - low) * _NUMBER / height)
    for number, ((x, y), at) in enumerate(zip(places, heights, strict=True), start=1):
        axes.plot([x, right], [y, at], color="#aaaaaa", linewidth=0.5, zorder=1, clip_on=False)
        axes.annotate(
            str(number),
            (right, at),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            annotation_clip=False,
        )
    axes.set_xlim(right=right)
    axes.set_ylim(low, high)


def _mark(number: int) -> tuple[str, str]:
    # Another marker for each eight, so that colour and marker together are one variant's alone.
    shift = number // drawing.MOST_LINES
    return drawing.COLOURS[number % 8], drawing.MARKERS[(number + shift) % len(drawing.MARKERS)]


def _place(variant: VariantReport) -> tuple[float, float]:
    assert variant.metrics is not None  # noqa: S101 (it has finished)
    return variant.metrics.training_seconds.mean, 100 * variant.metrics.test_accuracy.mean


def _accuracy_interval(variant: VariantReport) -> tuple[float, float]:
    assert variant.metrics is not None  # noqa: S101 (it has finished)
    found = variant.metrics.test_accuracy
    if found.low is None or found.high is None:
        return 100 * found.mean, 100 * found.mean
    return 100 * found.low, 100 * found.high


def _row_name(axes: Axes, y: float, name: str) -> None:
    """Above its row, where even a long name has room."""
    axes.annotate(
        drawing.shortened(name, _LETTERS_A_ROW),
        (0, y),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )
