"""The report's charts, drawn by matplotlib from a Comparison: one description each, as SVG or as PNG.

Variants are told apart by dashes and markers too, so that no chart needs colour to be understood. Decision
14 says why matplotlib.
"""

import base64
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from threading import Lock
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from api.reports.schemas import Comparison, Contrast, CurvePoint, Difference, Portrait, VariantReport

Form = Literal["svg", "png"]

MOST_VARIANTS = 8
"""As many as can be told apart in one chart; the tables have them all."""
_MOST_ROWS = 40
# Okabe and Ito's colours, which most kinds of colour blindness tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7A7A7A")
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (9, 2)), (0, (3, 1, 1, 1)), (0, (1, 3)), (0, (5, 5)))
_MARKERS = "osD^vPX*"
_WIDTH = 7.2
_LONGEST_NAME = 28
_NEIGHBOURS = 2
_DPI = 150
_STYLE: Any = {
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_GROUP = re.compile(r'<g id="[^"]*">')
# matplotlib's settings and caches are the whole process's.
_one_at_a_time = Lock()


@dataclass(frozen=True)
class Chart:
    """What a chart is called and how to read it; `draw` gives None where there is nothing to show."""

    title: str
    caption: str
    draw: Callable[[Comparison], Figure | None]


def render(comparison: Comparison, name: str, form: Form) -> bytes | None:
    """The chart of that name (a key of `CHARTS`) as a whole SVG document or a PNG; None without data."""
    chart = CHARTS[name]
    file = io.BytesIO()
    with _one_at_a_time, mpl.rc_context(_STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        # Names may hold letters that matplotlib's own font lacks; an SVG's reader has others.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = chart.draw(comparison)
        if figure is None:
            return None
        # The date would make two drawings of the same numbers differ.
        figure.savefig(file, format=form, dpi=_DPI, metadata={"Date": None} if form == "svg" else None)
    return _described(file.getvalue(), chart.title) if form == "svg" else file.getvalue()


def inline(comparison: Comparison, name: str) -> str | None:
    """The same as an element for the midst of a page."""
    svg = render(comparison, name, "svg")
    return None if svg is None else svg[svg.index(b"<svg") :].decode()


def _described(svg: bytes, title: str) -> bytes:
    """With what a screen reader says of it, and no size of its own: it takes the width that there is."""
    head, _, rest = svg.decode().partition("<svg ")
    attributes, _, body = rest.partition(">")
    kept = " ".join(part for part in attributes.split() if not part.startswith(("width=", "height=")))
    # Groups are numbered anew in each drawing; a page with several would have the same ids again and again.
    body = _GROUP.sub("<g>", body)
    label = escape(title)
    return f'{head}<svg role="img" aria-label="{label}" {kept}><title>{label}</title>{body}'.encode()


def _learning_curves(comparison: Comparison) -> Figure | None:
    shown = [each for each in comparison.variants if each.curve][:MOST_VARIANTS]
    if not shown:
        return None
    figure, panels = _panels(len(shown), height=2.3, sharey=True, sharex=True)
    for panel, variant in zip(panels, shown, strict=True):
        panel.set_title(_named(variant.name))
        _curve(panel, variant, "train_loss", "training", 0)
        _curve(panel, variant, "validation_loss", "validation", 1)
        _mark_overfitting(panel, variant)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        # In a grid with a hole, the lowest panel of a column is not the last row's.
        panel.tick_params(labelbottom=True)
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel("loss, nats", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _curve(axes: Axes, variant: VariantReport, measure: str, label: str, style: int) -> None:
    epochs, values, spreads = _series(variant.curve, measure)
    if not epochs:
        return
    colour = _COLOURS[style]
    axes.plot(epochs, values, color=colour, alpha=0.35, linewidth=0.8)
    axes.plot(epochs, _smoothed(values), color=colour, linestyle=_DASHES[style], linewidth=1.6, label=label)
    if any(spread is not None for spread in spreads):
        # Where one seed alone is left there is no band: NaN leaves a hole.
        middle, band = np.array(values), np.array(spreads, dtype=float)
        axes.fill_between(epochs, middle - band, middle + band, color=colour, alpha=0.15, linewidth=0)


def _mark_overfitting(axes: Axes, variant: VariantReport) -> None:
    if variant.overfits_from is not None:
        axes.axvline(variant.overfits_from, color="#444", linewidth=0.9, linestyle=":")
        place = (variant.overfits_from, 0.98)
        text = f" overfits from {variant.overfits_from}"
        axes.annotate(text, place, xycoords=("data", "axes fraction"), va="top", fontsize=8, color="#444")


def _gap(comparison: Comparison) -> Figure | None:
    shown = [each for each in comparison.variants if _series(each.curve, "gap_loss")[0]][:MOST_VARIANTS]
    if not shown:
        return None
    figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, variant in enumerate(shown):
        epochs, values, _ = _series(variant.curve, "gap_loss")
        look: dict[str, Any] = {
            "color": _COLOURS[number],
            "linestyle": _DASHES[number],
            "label": _named(variant.name),
        }
        axes.plot(epochs, values, linewidth=1.6, **look)
        if variant.overfits_from in epochs:
            at = epochs.index(variant.overfits_from)
            axes.plot(epochs[at], values[at], marker=_MARKERS[number], color=_COLOURS[number], markersize=7)
    axes.axhline(0, color="#888", linewidth=0.8)
    axes.set(xlabel="epoch", ylabel="validation minus training loss, nats")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _accuracy_by_seed(comparison: Comparison) -> Figure | None:
    shown = [each for each in comparison.variants if each.n][:MOST_VARIANTS]
    if not shown:
        return None
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    known = [{each.seed: 100 * each.result.test_accuracy for each in variant.seeds} for variant in shown]
    for left, (one, other) in enumerate(pairwise(known)):
        for seed in one.keys() & other.keys():
            axes.plot([left, left + 1], [one[seed], other[seed]], color="#bbb", linewidth=0.7, zorder=1)
    for place, values in enumerate(known):
        colour = _COLOURS[place]
        style: dict[str, Any] = {"facecolors": "white", "edgecolors": colour, "zorder": 2}
        axes.scatter([place] * len(values), list(values.values()), s=22, marker=_MARKERS[place], **style)
        mean = sum(values.values()) / len(values)
        axes.hlines(mean, place - 0.25, place + 0.25, color="#111", linewidth=2, zorder=3)
    axes.set_xticks(range(len(shown)), [_named(each.name) for each in shown], rotation=20, ha="right")
    axes.set(ylabel="test accuracy, %", xlim=(-0.5, len(shown) - 0.5))
    return figure


def _differences(comparison: Comparison) -> Figure | None:
    shown = [each for each in comparison.contrasts if each.differences is not None][:_MOST_ROWS]
    if not shown:
        return None
    figure = Figure(figsize=(_WIDTH, 1.1 + 0.32 * len(shown)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    margin = next((each.equivalence.margin_points for each in shown if each.equivalence), None)
    if margin is not None:
        left.axvspan(-margin, margin, color="#dddddd", zorder=0)
    _forest(left, shown, "test_accuracy_points")
    _forest(right, shown, "test_loss")
    left.set_xlabel("test accuracy, points")
    right.set_xlabel("test loss, nats")
    left.set_yticks(range(len(shown)), [_named(each.variant) for each in shown])
    left.set_ylim(len(shown) - 0.5, -0.5)
    return figure


def _forest(axes: Axes, contrasts: Sequence[Contrast], measure: str) -> None:
    axes.axvline(0, color="#444", linewidth=0.9)
    # Few enough that long numbers stay apart.
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    for row, contrast in enumerate(contrasts):
        found: Difference = getattr(contrast.differences, measure)
        if found.low is not None and found.high is not None:
            axes.hlines(row, found.low, found.high, color=_COLOURS[0], linewidth=1.6)
        axes.plot(found.mean, row, marker="o", color=_COLOURS[0], markersize=5)


def _cost(comparison: Comparison) -> Figure | None:
    shown = [each for each in comparison.variants if each.measures is not None][:_MOST_ROWS]
    if not shown:
        return None
    figure = Figure(figsize=(_WIDTH, max(3.2, 0.2 * len(shown) + 1)), layout="constrained")
    axes = figure.subplots()
    for number, variant in enumerate(shown):
        assert variant.measures is not None  # noqa: S101 (chosen so)
        seconds, loss = variant.measures.training_seconds, variant.measures.test_loss
        # Another marker each time that the colours begin anew.
        marker = _MARKERS[(number + number // MOST_VARIANTS) % len(_MARKERS)]
        half = None if loss.low is None or loss.high is None else (loss.high - loss.low) / 2
        axes.errorbar(
            seconds.mean,
            loss.mean,
            yerr=half,
            linestyle="none",
            marker=marker,
            color=_COLOURS[number % MOST_VARIANTS],
            label=_named(variant.name),
        )
    axes.set(xlabel="seconds of training", ylabel="test loss, nats")
    figure.legend(loc="outside right upper")
    return figure


def _weights(comparison: Comparison) -> Figure | None:
    shown = _portrayed(comparison)
    if not shown:
        return None
    figure, panels = _panels(len(shown), height=1.9, sharey=True)
    for panel, (name, portrait) in zip(panels, shown, strict=True):
        panel.stairs(portrait.weight_counts, portrait.weight_edges, fill=True, color=_COLOURS[0], alpha=0.8)
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
        weights = portrait.weight_zeros + sum(portrait.weight_counts)
        share = 100 * portrait.weight_zeros / weights if weights else 0.0
        panel.set_title(f"{_named(name)} ({share:.1f} % exact zeros)")
    figure.supxlabel("weight", fontsize=9)
    figure.supylabel("how many", fontsize=9)
    return figure


def _first_layer(comparison: Comparison) -> Figure | None:
    shown = [(name, portrait) for name, portrait in _portrayed(comparison) if portrait.first_layer]
    if not shown:
        return None
    most = max(len(portrait.first_layer) for _, portrait in shown)
    figure = Figure(figsize=(_WIDTH, 0.95 * len(shown) + 0.2), layout="constrained")
    grid = figure.subplots(len(shown), most, squeeze=False)
    for row, (name, portrait) in zip(grid, shown, strict=True):
        for axes in row:
            axes.axis("off")
        for axes, unit in zip(row, portrait.first_layer, strict=False):
            axes.imshow(_image(unit, portrait.first_layer_side), cmap="RdBu_r", vmin=-1, vmax=1)
        row[0].set_title(f"{_named(name)} (±{portrait.first_layer_scale:.2g})", loc="left")
    return figure


def _image(unit: str, side: int) -> NDArray[np.float64]:
    """Weights from -1 to 1, shape (side, side)."""
    pixels = np.frombuffer(base64.b64decode(unit), dtype=np.uint8).reshape(side, side)
    return (pixels.astype(np.float64) - 128) / 127


def _reliability(comparison: Comparison) -> Figure | None:
    shown = [(name, portrait) for name, portrait in _portrayed(comparison) if portrait.calibration]
    if not shown:
        return None
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    lowest = min(each.confidence for _, portrait in shown for each in portrait.calibration)
    axes.plot([lowest, 1], [lowest, 1], color="#888", linewidth=0.9, label="as right as certain")
    for number, (name, portrait) in enumerate(shown):
        axes.plot(
            [each.confidence for each in portrait.calibration],
            [each.accuracy for each in portrait.calibration],
            color=_COLOURS[number],
            linestyle=_DASHES[number],
            marker=_MARKERS[number],
            markersize=4,
            linewidth=1.3,
            label=_named(name),
        )
    axes.set(xlabel="mean probability of the answers given", ylabel="share that is right")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _confusion_difference(comparison: Comparison) -> Figure | None:
    known = {each.name: each.confusion for each in comparison.variants if each.confusion}
    base = known.get(comparison.baseline)
    others = [(name, confusion) for name, confusion in known.items() if name != comparison.baseline]
    if base is None or not others:
        return None
    changes = [(name, _shares(confusion) - _shares(base)) for name, confusion in others[:MOST_VARIANTS]]
    largest = max(float(np.abs(change).max()) for _, change in changes) or 1.0
    figure, panels = _panels(len(changes), height=3.2)
    for panel, (name, change) in zip(panels, changes, strict=True):
        panel.grid(visible=False)
        drawn = panel.imshow(change, cmap="RdBu_r", vmin=-largest, vmax=largest)
        panel.set_title(_named(name))
        panel.set(xlabel="answer", ylabel="digit", xticks=range(10), yticks=range(10))
        for row, column in zip(*np.nonzero(np.abs(change) >= largest / 4), strict=True):
            value = change[row, column]
            colour = "white" if abs(value) > largest / 2 else "black"
            panel.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(drawn, ax=panels, label="points of the digit's images", shrink=0.8)
    return figure


def _shares(confusion: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Of each digit's images, the percentage that got each answer."""
    counts = np.array(confusion, dtype=np.float64)
    shares: NDArray[np.float64] = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _panels(
    count: int, *, height: float, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with that many axes, two in a row."""
    columns = min(2, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(_WIDTH, 0.6 + height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _series(curve: Sequence[CurvePoint], measure: str) -> tuple[list[int], list[float], list[float | None]]:
    """Epochs, means and standard deviations of one measure, where it is known."""
    known = [point for point in curve if getattr(point, measure) is not None]
    return (
        [point.epoch for point in known],
        [getattr(point, measure) for point in known],
        [getattr(point, f"{measure}_sd") for point in known],
    )


def _smoothed(values: Sequence[float]) -> list[float]:
    """Means over each value and as many neighbours on both sides: nothing lags, and the ends stay."""
    found = []
    for at in range(len(values)):
        reach = min(_NEIGHBOURS, at, len(values) - 1 - at)
        near = values[at - reach : at + reach + 1]
        found.append(sum(near) / len(near))
    return found


def _portrayed(comparison: Comparison) -> list[tuple[str, Portrait]]:
    found = [(each.name, each.portrait) for each in comparison.variants if each.portrait is not None]
    return found[:MOST_VARIANTS]


def _named(name: str) -> str:
    """A variant's name as matplotlib shows it: one line of a bounded length, never left out."""
    line = " ".join(name.split())
    short = line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "…"
    # A label that begins with an underscore would be left out of legends.
    return f"\u00a0{short}" if short.startswith("_") else short


CHARTS: dict[str, Chart] = {
    "differences": Chart(
        "Differences from the baseline",
        "Means and 95 % intervals over pairs of seeds. Grey: as good as equal. An interval that crosses zero "
        "leaves the direction open.",
        _differences,
    ),
    "learning-curves": Chart(
        "Learning curves",
        "Loss by epoch. Solid: training; dashed: validation; thin: the means over seeds as they are, thick: "
        "smoothed; band: one standard deviation over seeds to each side.",
        _learning_curves,
    ),
    "gap": Chart(
        "Generalization gap by epoch",
        "Validation minus training loss, means over seeds. A marker stands where overfitting sets in: at the "
        "lowest validation loss, if that has clearly risen since.",
        _gap,
    ),
    "accuracy-by-seed": Chart(
        "Test accuracy of each seed",
        "A thin line joins the two models of a pair: same split, same initial weights, same order. The bar "
        "is the mean.",
        _accuracy_by_seed,
    ),
    "cost": Chart(
        "Test loss against training time",
        "Means over seeds, with the loss's 95 % interval; down and to the left is better.",
        _cost,
    ),
    "weights": Chart(
        "Weights of one model of each variant",
        "How many kernel weights have which size, exact zeros left out (logarithmic).",
        _weights,
    ),
    "first-layer": Chart(
        "What first units look at",
        "Incoming weights of the units of largest norm, as images: red raises, blue lowers the unit's input, "
        "white is zero. A pixel that is white in all of a row's images is one that the network ignores.",
        _first_layer,
    ),
    "reliability": Chart(
        "Reliability",
        "Test images in bins of equal size by how certain the answer is. Above the line a network is too "
        "modest, below it too certain.",
        _reliability,
    ),
    "confusion-difference": Chart(
        "Where answers differ from the baseline's",
        "Change in how often each digit gets each answer, all seeds together: on the diagonal red is better, "
        "off it blue is.",
        _confusion_difference,
    ),
}
