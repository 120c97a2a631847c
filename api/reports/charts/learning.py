"""Learning curves, and the gap between training and validation loss, epoch by epoch."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from api.reports.charts import drawing
from api.reports.schemas import Comparison, CurvePoint, VariantReport

MAX_PANELS = 24
_MAX_LARGE_PANELS = 8
_MIN_EPOCHS_TO_SMOOTH = 10
_TRAINING, _VALIDATION = (drawing.BLUE, drawing.DASHES[0]), (drawing.ORANGE, drawing.DASHES[1])


def find_with_curves(comparison: Comparison) -> list[VariantReport]:
    """The variants that have epochs."""
    return [variant for variant in comparison.variants if variant.curve]


def find_with_validation(comparison: Comparison) -> list[VariantReport]:
    """The variants with validation images."""
    return [
        variant
        for variant in comparison.variants
        if any(point.gap_loss is not None for point in variant.curve)
    ]


def draw_loss(comparison: Comparison) -> Figure:
    """Training and validation loss, a plot for each variant, all to the same scale."""
    return _draw_curves(comparison, "loss", 1.0, "loss, nats")


def draw_accuracy(comparison: Comparison) -> Figure:
    """Training and validation accuracy, a plot for each variant, all to the same scale."""
    return _draw_curves(comparison, "accuracy", 100.0, "accuracy, %")


def draw_gap(comparison: Comparison) -> Figure:
    """Validation minus training loss: a line for each variant, or a panel for each if there are many."""
    variants = find_with_validation(comparison)
    if len(variants) > drawing.MAX_LINES:
        return _draw_gap_panels(variants)
    figure, axes = drawing.create_figure(2.2, keys=len(variants))
    entries = []
    for index, variant in enumerate(variants):
        style = {
            "color": drawing.COLOURS[index],
            "linestyle": drawing.DASHES[index],
            "marker": drawing.MARKERS[index],
        }
        epochs, values = _get_gaps(variant)
        every = max(1, len(epochs) // 8)
        axes.plot(epochs, values, markevery=(index % every, every), **style)
        entries.append((Line2D([], [], **style), variant.name))
        _draw_onset(axes, variant, drawing.COLOURS[index])
    _draw_zero_line(axes)
    drawing.set_epoch_axis(axes, _get_last_epoch(variants))
    axes.set_xlabel("epoch")
    axes.set_ylabel("gap in loss, nats")
    drawing.draw_legend(figure, entries)
    return figure


def _draw_gap_panels(variants: Sequence[VariantReport]) -> Figure:
    """Small panels, each with the baseline's line in grey to compare with, also if that has no panel."""
    baseline = next((variant for variant in variants if variant.is_baseline), None)
    variants = variants[:MAX_PANELS]
    headings = [drawing.format_heading(variant.name, columns=3) for variant in variants]
    figure, panels = drawing.create_panels(headings, 0.8, columns=3, labels=("epoch", "gap in loss, nats"))
    for axes, variant in zip(panels, variants, strict=True):
        if baseline is not None and baseline is not variant:
            axes.plot(*_get_gaps(baseline), color=drawing.GREY, linestyle=(0, (2, 2)), linewidth=1)
        axes.plot(*_get_gaps(variant), color=drawing.BLUE)
        _draw_onset(axes, variant, drawing.BLUE)
        _draw_zero_line(axes)
        drawing.set_epoch_axis(axes, _get_last_epoch(variants))
    return figure


def _draw_curves(comparison: Comparison, metric: str, unit: float, label: str) -> Figure:
    variants = find_with_curves(comparison)[:MAX_PANELS]
    columns, height = (3, 0.8) if len(variants) > _MAX_LARGE_PANELS else (2, 1.25)
    headings = []
    for variant in variants:
        onset = variant.overfitting_onset_epoch
        note = f"overfits from {onset}" if onset else ""
        headings.append(drawing.format_heading(variant.name, columns=columns, note=note))
    figure, panels = drawing.create_panels(headings, height, columns=columns, labels=("epoch", label), keys=1)
    for axes, variant in zip(panels, variants, strict=True):
        _draw_band(axes, variant.curve, f"train_{metric}", unit, _TRAINING)
        _draw_band(axes, variant.curve, f"validation_{metric}", unit, _VALIDATION)
        if variant.overfitting_onset_epoch:
            axes.axvline(variant.overfitting_onset_epoch, color="black", linestyle=(0, (1, 1.5)), linewidth=1)
        drawing.set_epoch_axis(axes, _get_last_epoch(variants))
    drawing.draw_legend(
        figure,
        [
            (Line2D([], [], color=colour, linestyle=dash), name)
            for (colour, dash), name in ((_TRAINING, "training"), (_VALIDATION, "validation"))
        ],
        columns=2,
    )
    return figure


def _draw_band(
    axes: Axes, curve: Sequence[CurvePoint], metric: str, unit: float, style: tuple[str, object]
) -> None:
    """The mean, one standard deviation to each side, and over many epochs the smoothed mean on top."""
    points = [point for point in curve if getattr(point, metric) is not None]
    if not points:
        return
    colour, dash = style
    epochs = np.array([point.epoch for point in points])
    mean = unit * np.array([getattr(point, metric) for point in points])
    sd = unit * np.array([getattr(point, f"{metric}_sd") or 0.0 for point in points])
    if sd.any():
        axes.fill_between(epochs, mean - sd, mean + sd, color=colour, alpha=0.18, linewidth=0)
    if len(points) < _MIN_EPOCHS_TO_SMOOTH:
        marker = "." if len(points) == 1 else ""
        axes.plot(epochs, mean, color=colour, linestyle=dash, marker=marker)
        return
    axes.plot(epochs, mean, color=colour, linewidth=0.6, alpha=0.6)
    axes.plot(epochs, smooth(mean), color=colour, linestyle=dash)


def smooth(values: np.ndarray) -> np.ndarray:
    """A moving average over a tenth of all values; the window is narrower towards the ends.

    The window is centred, so the average neither lags behind nor moves the lowest point.
    """
    half = max(1, len(values) // 20)
    widths = [min(half, index, len(values) - 1 - index) for index in range(len(values))]
    return np.array([values[index - width : index + width + 1].mean() for index, width in enumerate(widths)])


def _get_gaps(variant: VariantReport) -> tuple[np.ndarray, np.ndarray]:
    points = [point for point in variant.curve if point.gap_loss is not None]
    return np.array([point.epoch for point in points]), np.array([point.gap_loss for point in points])


def _get_last_epoch(variants: Sequence[VariantReport]) -> int:
    return max(variant.curve[-1].epoch for variant in variants)


def _draw_onset(axes: Axes, variant: VariantReport, colour: str) -> None:
    """A large ring around the gap of the epoch from which on the variant overfits."""
    for point in variant.curve:
        if point.epoch == variant.overfitting_onset_epoch and point.gap_loss is not None:
            axes.plot(
                [point.epoch], [point.gap_loss], marker="o", markersize=9, color=colour,
                markerfacecolor="none", markeredgewidth=1.6, linestyle="",
            )  # fmt: skip


def _draw_zero_line(axes: Axes) -> None:
    axes.axhline(0, color="#888888", linewidth=0.8)
