"""Tuning: what so many trials find, and the trials by their settings."""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

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
MAX_TRIALS = 100
_LOSS = "validation loss, nats"
_SPREAD = 10
"""From this ratio of the highest loss to the lowest on their row is logarithmic."""
_ROW = 0.62
"""Inches from a row to the next."""


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
    markers = [
        Line2D([], [], color=drawing.COLOURS[index], marker=drawing.MARKERS[index], linestyle="")
        for index in range(len(items))
    ]
    drawing.draw_legend(figure, list(zip(markers, (item.variant for item in items), strict=True)))
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


def find_tried(comparison: Comparison) -> list[TunedVariant]:
    """The variants with a trial that has a loss."""
    return [item for item in comparison.tuning.variants if item.finished] if comparison.tuning else []


def draw_parallel_coordinates(comparison: Comparison) -> Figure:
    """A row for each tuned field and one for validation loss; a line down the rows for each trial.

    Rows instead of columns, so that their names can still be read where the chart is narrow.
    """
    items, tuning = find_tried(comparison)[: drawing.MAX_LINES], comparison.tuning
    lines: list[tuple[int, bool, dict[str, Any]]] = []
    for index, item in enumerate(items):
        trials = [(trial.validation_loss.mean, trial) for trial in item.trials if trial.validation_loss]
        lines += [
            (index, trial.trial == item.chosen, trial.parameters | {_LOSS: loss})
            for loss, trial in sorted(trials, key=lambda pair: pair[0])[:MAX_TRIALS]
        ]
    fields = [*dict.fromkeys(field for *_, point in lines for field in point if field != _LOSS), _LOSS]
    figure, axes = drawing.create_figure(_ROW * (len(fields) - 0.5), left=1.3, right=0.3, keys=len(items))
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(len(fields) - 0.8, -0.3))
    scales: dict[str, Callable[[Any], float]] = {}
    for row, field in enumerate(fields):
        values = [point[field] for *_, point in lines if field in point]
        spread = field == _LOSS and max(values) >= _SPREAD * min(values)
        scales[field], ticks = _build_scale(
            field, values, logarithmic=spread or bool(tuning and field in tuning.log_scales)
        )
        axes.plot((0, 1), (row, row), color="#888888", linewidth=0.7)
        name = textwrap.wrap(field if field == _LOSS else name_axis(field), 17)
        axes.text(-0.06, row, "\n".join(name[:3]), ha="right", va="center")
        for position, text in ticks:
            align = "left" if position == 0 else "right" if position == 1 else "center"
            axes.text(position, row + 0.35, text, ha=align, color=drawing.GREY, zorder=4)
    # Those that were chosen lie above the others.
    for index, is_chosen, point in sorted(lines, key=lambda line: line[1]):
        rows = [row for row, field in enumerate(fields) if field in point]
        axes.plot(
            [scales[fields[row]](point[fields[row]]) for row in rows],
            rows,
            color=drawing.COLOURS[index],
            linestyle=drawing.DASHES[index],
            linewidth=2.4 if is_chosen else 0.8,
            alpha=1 if is_chosen else 0.45,
            marker=drawing.MARKERS[index],
            markersize=5.5 if is_chosen else 3,
        )
    names = [item.variant for item in items]
    drawing.draw_legend(figure, list(zip(map(build_handle, range(len(names))), names, strict=True)))
    return figure


def _build_scale(
    field: str, values: Sequence[Any], *, logarithmic: bool
) -> tuple[Callable[[Any], float], list[tuple[float, str]]]:
    """Where between 0 and 1 a value is, and where which texts are; what is no number has a text for each."""
    if not all(isinstance(value, int | float) for value in values):
        texts = list(dict.fromkeys(format_axis_value(field, value) for value in values))
        step = 1 / max(len(texts) - 1, 1)
        ticks = [(index * step, drawing.truncate_label(text, 12)) for index, text in enumerate(texts)]
        return lambda value: texts.index(format_axis_value(field, value)) * step, ticks[
            :: len(texts) // 5 or 1
        ]
    low, high = min(values), max(values)
    convert, invert = (math.log, math.exp) if logarithmic and low > 0 else (float, float)
    begin, width = convert(low), convert(high) - convert(low) or 1.0
    shares = (0.0, 0.5, 1.0) if high > low else (0.0,)
    ticks = [(share, f"{invert(begin + share * width):.3g}") for share in shares]
    return lambda value: (convert(value) - begin) / width, ticks
