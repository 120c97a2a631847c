"""Tuning: what so many trials find, and the trials by their settings."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from api.reports.charts import drawing
from api.reports.charts.along_axes import build_handle
from api.reports.schemas import Comparison
from api.reports.tuning_schemas import TunedVariant
from models.run_key import format_axis_value, name_axis

MAX_PANELS = 6


def find_budgets(comparison: Comparison) -> list[TunedVariant]:
    """The variants that have a curve."""
    items = comparison.tuning.variants if comparison.tuning else []
    return [item for item in items if any(point.value is not None for point in item.budget)]


def draw_budgets(comparison: Comparison) -> Figure:
    """A line a variant, with its band."""
    items = find_budgets(comparison)[: drawing.MAX_LINES]
    figure, axes = drawing.create_figure(2.2, keys=len(items))
    for index, item in enumerate(items):
        points = [point for point in item.budget if point.value is not None]
        trials = [point.trials for point in points]
        colour = drawing.COLOURS[index]
        curve = np.array([[point.value, point.low, point.high] for point in points], dtype=float)
        axes.plot(trials, curve[:, 0], color=colour, linestyle=drawing.DASHES[index])
        axes.fill_between(trials, curve[:, 1], curve[:, 2], color=colour, alpha=0.12, linewidth=0)
    axes.set_xlabel("trials")
    axes.set_ylabel("validation loss, nats")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    names = [item.variant for item in items]
    drawing.draw_legend(figure, list(zip(map(build_handle, range(len(names))), names, strict=True)))
    return figure


def find_fields(comparison: Comparison) -> list[str]:
    """The tuned fields, a panel each."""
    tuning = comparison.tuning
    trials = [trial for item in tuning.variants for trial in item.trials] if tuning else []
    return list(
        dict.fromkeys(field for trial in trials if trial.validation_loss for field in trial.parameters)
    )


def draw_parameters(comparison: Comparison) -> Figure:
    """A panel a tuned field: the validation loss of each trial that has a value of it."""
    fields = find_fields(comparison)[:MAX_PANELS]
    tuning = comparison.tuning
    items = tuning.variants[: drawing.MAX_LINES] if tuning else []
    figure, panels = drawing.create_panels(
        [name_axis(field) for field in fields],
        1.4,
        columns=1,
        labels=("setting", "validation loss, nats"),
        keys=len(items),
        share=False,
    )
    for axes, field in zip(panels, fields, strict=True):
        values = [
            trial.parameters[field] for item in items for trial in item.trials if field in trial.parameters
        ]
        numeric = all(isinstance(value, int | float) for value in values)
        # What is no number has a place for each of its values, in the order in which they were tried.
        texts = [] if numeric else list(dict.fromkeys(format_axis_value(field, value) for value in values))
        for index, item in enumerate(items):
            _draw_trials(axes, item, field, index, texts)
        if texts:
            axes.set_xticks(range(len(texts)), texts)
        elif tuning and field in tuning.log_scales:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
    names = [item.variant for item in items]
    drawing.draw_legend(figure, list(zip(map(_build_marker, range(len(names))), names, strict=True)))
    return figure


def _draw_trials(axes: Axes, item: TunedVariant, field: str, index: int, texts: Sequence[str]) -> None:
    colour, marker = drawing.COLOURS[index], drawing.MARKERS[index]
    for trial in item.trials:
        if trial.validation_loss is None or field not in trial.parameters:
            continue
        value = trial.parameters[field]
        axes.errorbar(
            texts.index(format_axis_value(field, value)) if texts else value,
            trial.validation_loss.mean,
            trial.validation_loss.sd,
            color=colour,
            marker=marker,
            elinewidth=0.8,
            markerfacecolor=colour if trial.trial == item.chosen else "none",
        )


def _build_marker(index: int) -> Line2D:
    return Line2D([], [], color=drawing.COLOURS[index], marker=drawing.MARKERS[index], linestyle="")
