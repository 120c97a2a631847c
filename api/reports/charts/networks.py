"""The trained networks: their weights, their calibration and their confusion matrices."""

import base64
import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from api.reports.charts import drawing
from api.reports.schemas import Comparison, Diagnostics, VariantReport
from models.statistics import compute_proportion_standard_error

MAX_PANELS = 8
# Blue below zero, white at zero, red above.
_DIVERGING = "RdBu_r"
_IMAGES_PER_ROW = 8
_MOST_CHARACTERS = 8
# More labels at a confusion matrix would overlap.
_MOST_TICKS = 20


def find_diagnosed(comparison: Comparison) -> list[tuple[str, Diagnostics]]:
    """The variants of which a model's diagnostics are stored, by name."""
    return [(variant.name, variant.diagnostics) for variant in comparison.variants if variant.diagnostics]


def find_with_first_layer(comparison: Comparison) -> list[tuple[str, Diagnostics]]:
    """Those whose diagnostics have images of the first layer."""
    return [pair for pair in find_diagnosed(comparison) if pair[1].first_layer]


def find_with_calibration(comparison: Comparison) -> list[tuple[str, Diagnostics]]:
    """Those whose diagnostics say how often answers of each confidence are correct."""
    return [pair for pair in find_diagnosed(comparison) if pair[1].calibration]


def find_with_confusion(comparison: Comparison) -> list[VariantReport]:
    """The variants whose confusion matrices can be compared with the baseline's."""
    if not any(variant.is_baseline and variant.confusion for variant in comparison.variants):
        return []
    return [variant for variant in comparison.variants if variant.confusion and not variant.is_baseline]


def draw_weights(comparison: Comparison) -> Figure:
    """Histograms of the weights, to one scale; exact zeros are counted in the headings."""
    diagnosed = find_diagnosed(comparison)[:MAX_PANELS]
    reach = max(max(abs(edge) for edge in diagnostics.weight_edges) for _, diagnostics in diagnosed)
    headings = []
    for name, diagnostics in diagnosed:
        total = sum(diagnostics.weight_counts) + diagnostics.weight_zeros
        zeros = f"{100 * diagnostics.weight_zeros / total:.1f} % exactly zero" if total else ""
        headings.append(drawing.format_heading(name, note=zeros))
    figure, axes = drawing.create_panels(
        headings,
        1.1,
        columns=2,
        labels=("weight", "weights in a bin"),
        left=0.75,
    )
    for panel, (_, diagnostics) in zip(axes, diagnosed, strict=True):
        panel.stairs(diagnostics.weight_counts, diagnostics.weight_edges, fill=True, color=drawing.BLUE)
        panel.set_xlim(-reach, reach)
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        panel.yaxis.set_minor_locator(NullLocator())
        panel.set_ylim(bottom=0.7)
    return figure


def draw_first_layer(comparison: Comparison) -> Figure:
    """Incoming weights of units of the first layer, as images that are white where a weight is zero."""
    diagnosed = find_with_first_layer(comparison)[:MAX_PANELS]
    rows = max(math.ceil(len(diagnostics.first_layer) / _IMAGES_PER_ROW) for _, diagnostics in diagnosed)
    figure, axes = drawing.create_panels(
        [
            drawing.format_heading(
                name, columns=1, note=f"darkest: a weight of ±{diagnostics.first_layer_scale:.3g}"
            )
            for name, diagnostics in diagnosed
        ],
        rows * 0.55,
        columns=1,
        labels=("", ""),
        left=0.1,
        share=False,
    )
    for panel, (_, diagnostics) in zip(axes, diagnosed, strict=True):
        # The images of all units in a grid, from -1 to 1; NaN between them, in whole pixels, wide enough to
        # be visible between filters of 3 x 3.
        side = diagnostics.first_layer_side
        space = max(1, side // 14)
        columns = min(_IMAGES_PER_ROW, len(diagnostics.first_layer))
        rows = math.ceil(len(diagnostics.first_layer) / columns)
        mosaic = np.full((rows * (side + space) - space, columns * (side + space) - space), np.nan)
        for index, image in enumerate(diagnostics.first_layer):
            top, left = (index // columns) * (side + space), (index % columns) * (side + space)
            values = (np.frombuffer(base64.b64decode(image), np.uint8).astype(float) - 128) / 127
            mosaic[top : top + side, left : left + side] = values.reshape(side, side)
        panel.imshow(mosaic, cmap=_DIVERGING, vmin=-1, vmax=1, interpolation="none")
        panel.set_anchor("NW")
        panel.set_axis_off()
    return figure


def draw_calibration(comparison: Comparison) -> Figure:
    """Reliability diagrams: how often answers of each confidence are correct."""
    diagnosed = find_with_calibration(comparison)[:MAX_PANELS]
    points = [point for _, diagnostics in diagnosed for point in diagnostics.calibration]
    low = min(min(point.confidence, point.accuracy) for point in points)
    # The axes begin at the lowest bin: most answers are almost certain.
    low = max(0.0, math.floor(10 * low - 0.2) / 10)
    figure, axes = drawing.create_panels(
        [drawing.format_heading(name) for name, _ in diagnosed],
        1.85,
        columns=2,
        labels=("confidence of the answer", "share that is right"),
        keys=1,
    )
    for panel, (_, diagnostics) in zip(axes, diagnosed, strict=True):
        panel.plot([low, 1], [low, 1], color=drawing.GREY, linestyle=(0, (4, 2)), linewidth=1)
        panel.errorbar(
            [point.confidence for point in diagnostics.calibration],
            [point.accuracy for point in diagnostics.calibration],
            yerr=[
                compute_proportion_standard_error(point.accuracy, point.n) if point.n else 0.0
                for point in diagnostics.calibration
            ],
            color=drawing.BLUE,
            marker="o",
            markersize=3.5,
            elinewidth=0.8,
        )
        panel.set_xlim(low - 0.02, 1.02)
        panel.set_ylim(low - 0.02, 1.02)
    entries = [
        (Line2D([], [], color=drawing.BLUE, marker="o", markersize=3.5), "this model"),
        (Line2D([], [], color=drawing.GREY, linestyle=(0, (4, 2)), linewidth=1), "as sure as it is right"),
    ]
    drawing.draw_legend(figure, entries, columns=2)
    return figure


def draw_confusion(comparison: Comparison) -> Figure:
    """For each true class, how many more or fewer of 1,000 images get each answer than with the baseline."""
    variants = find_with_confusion(comparison)[:MAX_PANELS]
    baseline = next(variant for variant in comparison.variants if variant.is_baseline)
    expected = _normalize_per_thousand(baseline)
    changes = [_normalize_per_thousand(variant) - expected for variant in variants]
    # Twice the largest change, so that all cells are pale enough for black text.
    darkest = 2 * max(1.0, *(abs(change).max() for change in changes))
    columns = min(2, len(variants))
    datasets = comparison.datasets
    class_names = datasets[0].class_names if len(datasets) == 1 else None
    figure, axes = drawing.create_panels(
        [drawing.format_heading(variant.name, columns=columns) for variant in variants],
        3.75 / columns,
        columns=columns,
        labels=("answer", "true class"),
        left=0.4,
        share=False,
    )
    for panel, change in zip(axes, changes, strict=True):
        panel.imshow(change, cmap=_DIVERGING, vmin=-darkest, vmax=darkest, interpolation="none")
        panel.set_anchor("NW")
        ticks = range(0, len(change), 1 + len(change) // _MOST_TICKS)
        names = class_names or [str(tick) for tick in range(len(change))]
        labels = [
            name if len(name) <= _MOST_CHARACTERS else f"{name[: _MOST_CHARACTERS - 1]}…"
            for name in (names[tick] for tick in ticks)
        ]
        panel.set_xticks(ticks, labels, rotation=90 if class_names else 0)
        panel.set_yticks(ticks, labels)
        panel.tick_params(length=0, labelsize=7)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        # A change of less than one image in a thousand is left out.
        for row, column in zip(*np.nonzero(abs(change).round()), strict=True):
            value = int(change[row, column].round())
            panel.text(column, row, f"{value:+d}", ha="center", va="center", fontsize=9.0 / columns + 1.5)
    return figure


def _normalize_per_thousand(variant: VariantReport) -> np.ndarray:
    counts = np.asarray(variant.confusion, float)
    # A class without images has a row of zeros.
    shares: np.ndarray = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return 1000 * shares
