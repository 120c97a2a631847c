"""What happened from epoch to epoch: learning curves and the gap between training and validation."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from api.reports.charts import drawing
from api.reports.schemas import Comparison, CurvePoint, VariantReport

_TRAINING, _VALIDATION = ((drawing.COLOURS[item], drawing.DASHES[item]) for item in (0, 1))
_FEWEST_TO_SMOOTH = 10
_MANY = 8
"""More plots than this are made smaller."""
MAX_PANELS = 24


def find_with_curves(comparison: Comparison) -> list[VariantReport]:
    """The variants that have epochs."""
    return [variant for variant in comparison.variants if variant.curve]


def find_with_validation(comparison: Comparison) -> list[VariantReport]:
    """The variants with images to validate on."""
    return [
        with_curve
        for with_curve in find_with_curves(comparison)
        if any(point.gap_loss is not None for point in with_curve.curve)
    ]


def draw_loss(comparison: Comparison) -> Figure:
    """Training and validation loss, a plot for each variant, all to the same scale."""
    return _draw_curves(comparison, "loss", 1.0, "loss, nats")


def draw_accuracy(comparison: Comparison) -> Figure:
    """Training and validation accuracy, a plot for each variant, all to the same scale."""
    return _draw_curves(comparison, "accuracy", 100.0, "accuracy, %")


def draw_gap(comparison: Comparison) -> Figure:
    """Validation minus training loss: a line for each variant, or a plot for each where there are many."""
    variants = find_with_validation(comparison)[:MAX_PANELS]
    last = max(variant.curve[-1].epoch for variant in variants)
    if len(variants) > drawing.MAX_LINES:
        return _draw_gap_panels(variants, last, find_with_validation(comparison))
    figure, axes = drawing.create_figure(2.2, keys=len(variants))
    entries = []
    for index, variant in enumerate(variants):
        style = {
            "color": drawing.COLOURS[index],
            "linestyle": drawing.DASHES[index],
            "marker": drawing.MARKERS[index],
        }
        epochs, values = _get_points(variant, "gap_loss")
        every = max(1, len(epochs) // 8)
        axes.plot(epochs, values, markevery=(index % every, every), **style)
        entries.append((Line2D([], [], **style), variant.name))
        _draw_onset(axes, variant, "gap_loss", colour=drawing.COLOURS[index])
    _draw_zero_line(axes)
    drawing.set_epoch_axis(axes, last)
    axes.set_xlabel("epoch")
    axes.set_ylabel("gap in loss, nats")
    drawing.draw_legend(figure, entries)
    return figure


def _draw_gap_panels(
    variant_reports: Sequence[VariantReport], last: int, every_variant: Sequence[VariantReport]
) -> Figure:
    """Small plots, each with the baseline's line in grey to be held against."""
    headings = [drawing.format_heading(item.name, columns=3) for item in variant_reports]
    figure, axes = drawing.create_panels(headings, 0.8, columns=3, labels=("epoch", "gap in loss, nats"))
    # Also where there is no plot for it.
    base = next((variant for variant in every_variant if variant.is_baseline), None)
    for axis, variant in zip(axes, variant_reports, strict=True):
        if base is not None and base is not variant:
            axis.plot(*_get_points(base, "gap_loss"), color=drawing.GREY, linestyle=(0, (2, 2)), linewidth=1)
        axis.plot(*_get_points(variant, "gap_loss"), color=drawing.COLOURS[0])
        _draw_onset(axis, variant, "gap_loss", colour=drawing.COLOURS[0])
        _draw_zero_line(axis)
        drawing.set_epoch_axis(axis, last)
    return figure


def _draw_curves(comparison: Comparison, metric: str, unit: float, label: str) -> Figure:
    variants = find_with_curves(comparison)[:MAX_PANELS]
    last = max(variant.curve[-1].epoch for variant in variants)
    many = len(variants) > _MANY
    columns = 3 if many else 2
    headings = [
        drawing.format_heading(item.name, columns=columns, note=_format_onset_note(item)) for item in variants
    ]
    figure, axes = drawing.create_panels(
        headings, 0.8 if many else 1.25, columns=columns, labels=("epoch", label), keys=1
    )
    for axis, variant in zip(axes, variants, strict=True):
        _draw_band(axis, variant.curve, f"train_{metric}", unit, _TRAINING)
        _draw_band(axis, variant.curve, f"validation_{metric}", unit, _VALIDATION)
        if variant.overfitting_onset_epoch:
            axis.axvline(variant.overfitting_onset_epoch, color="black", linestyle=(0, (1, 1.5)), linewidth=1)
        drawing.set_epoch_axis(axis, last)
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
    results = [point for point in curve if getattr(point, metric) is not None]
    if not results:
        return
    colour, dash = style
    epochs = np.array([point.epoch for point in results])
    mean = unit * np.array([getattr(point, metric) for point in results])
    sd = unit * np.array([getattr(point, f"{metric}_sd") or 0.0 for point in results])
    if sd.any():
        axes.fill_between(epochs, mean - sd, mean + sd, color=colour, alpha=0.18, linewidth=0)
    marker = "." if len(results) == 1 else ""
    if len(results) < _FEWEST_TO_SMOOTH:
        axes.plot(epochs, mean, color=colour, linestyle=dash, marker=marker)
        return
    axes.plot(epochs, mean, color=colour, linewidth=0.6, alpha=0.6)
    axes.plot(epochs, smooth(mean), color=colour, linestyle=dash)


def smooth(values: np.ndarray) -> np.ndarray:
    """The mean of each value and its neighbours, a tenth of all; at the ends as many as both sides have.

    Centred, so that it neither lags behind nor moves the lowest point.
    """
    half = max(1, len(values) // 20)
    reach = [min(half, index, len(values) - 1 - index) for index in range(len(values))]
    return np.array([values[index - item : index + item + 1].mean() for index, item in enumerate(reach)])


def _get_points(variant: VariantReport, metric: str) -> tuple[np.ndarray, np.ndarray]:
    results = [
        (point.epoch, value) for point in variant.curve if (value := getattr(point, metric)) is not None
    ]
    epochs = np.array([epoch for epoch, _ in results])
    return epochs, np.array([value for _, value in results])


def _draw_onset(axes: Axes, variant: VariantReport, metric: str, *, colour: str) -> None:
    """A large ring where overfitting sets in."""
    at = [point for point in variant.curve if point.epoch == variant.overfitting_onset_epoch]
    for point in at:
        axes.plot(
            [point.epoch], [getattr(point, metric)], marker="o", markersize=9, color=colour,
            markerfacecolor="none", markeredgewidth=1.6, linestyle="",
        )  # fmt: skip


def _format_onset_note(variant: VariantReport) -> str:
    return f"overfits from {variant.overfitting_onset_epoch}" if variant.overfitting_onset_epoch else ""


def _draw_zero_line(axes: Axes) -> None:
    axes.axhline(0, color="#888888", linewidth=0.8)
