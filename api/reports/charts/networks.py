"""What the networks have become: their weights, how sure they are, and what they confuse."""

import base64
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from api.reports.charts import drawing
from api.reports.schemas import CalibrationBin, Comparison, Diagnostics, VariantReport

MAX_PANELS = 8
# Blue below zero, white at zero, red above.
_DIVERGING = "RdBu_r"
_IMAGES_A_ROW = 8


def get_diagnosed_models(comparison: Comparison) -> list[tuple[str, Diagnostics]]:
    """The first variants of which a model's diagnostics are there."""
    return [(variant.name, variant.diagnostics) for variant in comparison.variants if variant.diagnostics][
        :MAX_PANELS
    ]


def find_with_confusion(comparison: Comparison) -> list[VariantReport]:
    """The first variants whose mistakes can be held against the baseline's."""
    if _get_baseline(comparison) is None:
        return []
    return [variant for variant in comparison.variants if variant.confusion and not variant.is_baseline][
        :MAX_PANELS
    ]


def draw_weights(comparison: Comparison) -> Figure:
    """How many weights are how large, to one scale; exact zeros are counted beside."""
    diagnosed_models = get_diagnosed_models(comparison)
    reach = max(max(abs(edge) for edge in item.weight_edges) for _, item in diagnosed_models)
    figure, axes = drawing.create_panels(
        [
            drawing.format_heading(name, note=_format_zeros(diagnostics))
            for name, diagnostics in diagnosed_models
        ],
        1.1,
        columns=2,
        labels=("weight", "weights in a bin"),
        left=0.75,
    )
    for panel, (_, diagnostics) in zip(axes, diagnosed_models, strict=True):
        panel.stairs(diagnostics.weight_counts, diagnostics.weight_edges, fill=True, color=drawing.COLOURS[0])
        panel.set_xlim(-reach, reach)
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        panel.yaxis.set_minor_locator(NullLocator())
        panel.set_ylim(bottom=0.7)
    return figure


def _format_zeros(diagnostics: Diagnostics) -> str:
    total = sum(diagnostics.weight_counts) + diagnostics.weight_zeros
    return f"{100 * diagnostics.weight_zeros / total:.1f} % exactly zero" if total else ""


def draw_first_layer(comparison: Comparison) -> Figure:
    """What units of the first layer look at: incoming weights as images, white where they are zero."""
    results = [(name, item) for name, item in get_diagnosed_models(comparison) if item.first_layer]
    rows = max(math.ceil(len(item.first_layer) / _IMAGES_A_ROW) for _, item in results)
    figure, axes = drawing.create_panels(
        [
            drawing.format_heading(
                name, columns=1, note=f"darkest: a weight of ±{item.first_layer_scale:.3g}"
            )
            for name, item in results
        ],
        rows * 0.55,
        columns=1,
        labels=("", ""),
        left=0.1,
        share=False,
    )
    for panel, (_, diagnostics) in zip(axes, results, strict=True):
        panel.imshow(_build_mosaic(diagnostics), cmap=_DIVERGING, vmin=-1, vmax=1, interpolation="none")
        panel.set_anchor("NW")
        panel.set_axis_off()
    return figure


def _build_mosaic(diagnostics: Diagnostics) -> np.ndarray:
    """All units side by side with a space between them, from -1 to 1; NaN where there is none."""
    side = diagnostics.first_layer_side
    images = [
        (np.frombuffer(base64.b64decode(item), np.uint8).astype(float) - 128) / 127
        for item in diagnostics.first_layer
    ]
    # A space of a whole number of pixels that is still seen between filters of 3 x 3.
    space = max(1, side // 14)
    columns = min(_IMAGES_A_ROW, len(images))
    rows = math.ceil(len(images) / columns)
    mosaic = np.full((rows * (side + space) - space, columns * (side + space) - space), np.nan)
    for index, image in enumerate(images):
        top, left = (index // columns) * (side + space), (index % columns) * (side + space)
        mosaic[top : top + side, left : left + side] = image.reshape(side, side)
    return mosaic


def draw_calibration(comparison: Comparison) -> Figure:
    """Reliability diagrams: how often answers of each confidence are right."""
    results = [(name, item) for name, item in get_diagnosed_models(comparison) if item.calibration]
    low = min(min(item.confidence, item.accuracy) for _, one in results for item in one.calibration)
    # Most answers are almost certain, so that the lowest bin alone sets where the axes begin.
    low = max(0.0, math.floor(10 * low - 0.2) / 10)
    figure, axes = drawing.create_panels(
        [drawing.format_heading(name) for name, _ in results],
        1.85,
        columns=2,
        labels=("confidence of the answer", "share that is right"),
        keys=1,
    )
    for panel, (_, diagnostics) in zip(axes, results, strict=True):
        panel.plot([low, 1], [low, 1], color=drawing.GREY, linestyle=(0, (4, 2)), linewidth=1)
        panel.errorbar(
            [item.confidence for item in diagnostics.calibration],
            [item.accuracy for item in diagnostics.calibration],
            yerr=[_compute_standard_error(item) for item in diagnostics.calibration],
            color=drawing.COLOURS[0],
            marker="o",
            markersize=3.5,
            elinewidth=0.8,
        )
        panel.set_xlim(low - 0.02, 1.02)
        panel.set_ylim(low - 0.02, 1.02)
    entries = [
        (Line2D([], [], color=drawing.COLOURS[0], marker="o", markersize=3.5), "this model"),
        (Line2D([], [], color=drawing.GREY, linestyle=(0, (4, 2)), linewidth=1), "as sure as it is right"),
    ]
    drawing.draw_legend(figure, entries, columns=2)
    return figure


def _compute_standard_error(calibration_bin: CalibrationBin) -> float:
    return (
        math.sqrt(calibration_bin.accuracy * (1 - calibration_bin.accuracy) / calibration_bin.n)
        if calibration_bin.n
        else 0.0
    )


def draw_confusion(comparison: Comparison) -> Figure:
    """For each true digit, how many more or fewer of 1,000 images get each answer than with the baseline."""
    with_confusion = find_with_confusion(comparison)
    base = _get_baseline(comparison)
    assert base is not None  # noqa: S101 (there is something to show)
    changes = [
        _normalize_per_thousand(item.confusion or []) - _normalize_per_thousand(base)
        for item in with_confusion
    ]
    # Paler than the map's ends, so that black numbers are read on every cell.
    darkest = 2 * max(1.0, *(abs(change).max() for change in changes))
    columns = min(2, len(with_confusion))
    figure, axes = drawing.create_panels(
        [drawing.format_heading(item.name, columns=columns) for item in with_confusion],
        3.75 / columns,
        columns=columns,
        labels=("answer", "true class"),
        left=0.4,
        share=False,
    )
    for panel, change in zip(axes, changes, strict=True):
        panel.imshow(change, cmap=_DIVERGING, vmin=-darkest, vmax=darkest, interpolation="none")
        panel.set_anchor("NW")
        _draw_changes(panel, change, 9.0 / columns + 1.5)
    return figure


def _draw_changes(panel: Axes, change: np.ndarray, size: float) -> None:
    """A signed number in each cell that changes by at least one image in a thousand."""
    panel.set_xticks(range(len(change)))
    panel.set_yticks(range(len(change)))
    panel.tick_params(length=0, labelsize=7)
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)
    for row, column in zip(*np.nonzero(abs(change).round()), strict=True):
        value = int(change[row, column].round())
        panel.text(column, row, f"{value:+d}", ha="center", va="center", fontsize=size)


def _get_baseline(comparison: Comparison) -> list[list[int]] | None:
    return next((variant.confusion for variant in comparison.variants if variant.is_baseline), None)


def _normalize_per_thousand(confusion: Sequence[Sequence[int]]) -> np.ndarray:
    counts = np.asarray(confusion, float)
    # A class without an image has no mistakes.
    shares: np.ndarray = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return 1000 * shares
