"""What an experiment with axes says about choosing a technique: where along an axis each gains."""

from collections.abc import Sequence

from api.reports.axis_schemas import AxisUsed, Gain
from api.reports.error_curves import describe_error_curves
from api.reports.gains import describe_calls, describe_crossing_interval, format_rounded, list_values
from api.reports.schemas import Advice, Comparison, Consideration
from models.axes import TRAIN_SAMPLES
from models.experiments import FEWEST_PAIRS, Regime
from models.metrics import METRICS
from models.run_key import name_axis_value

_TOPICS = {
    "/model/": "complexity",
    TRAIN_SAMPLES: "data",
    "": "task",
}
_CONSIDERATIONS = {
    "complexity": (
        "Model complexity",
        "The network was no axis. Whether a larger one needs more regularization is open.",
    ),
    "data": (
        "Training data size",
        "The size of the training set was no axis. With fewer examples a technique may gain more or less.",
    ),
    "resources": ("Computational resources", "Costs are not compared along axes."),
    "task": (
        "What the task needs",
        "Not tested: images unlike the test images, such as damaged or shifted ones.",
    ),
}
_NOT_COMPARED = "Calibration and exact zeros are not compared along axes."
_DAMAGED = "Accuracies on damaged test images are in their table; nothing is recommended by them along axes."


def advise_along_axes(comparison: Comparison) -> list[Consideration]:
    """The four considerations; complexity and data size speak where they are axes."""
    topics = [
        next(topic for beginning, topic in _TOPICS.items() if axis.field.startswith(beginning))
        for axis in comparison.axes
    ]
    considerations = []
    for name, (title, not_tested) in _CONSIDERATIONS.items():
        advice = _describe_gains(comparison) if name in topics else []
        if name == "data":
            advice = advice + describe_error_curves(comparison)
        if name == "task":
            advice = advice + _describe_choices(comparison)
        untested = None if name in topics else not_tested
        if name == "task":
            untested = f"{_DAMAGED if comparison.robustness else not_tested} {_NOT_COMPARED}"
        considerations.append(Consideration(name=name, title=title, advice=advice, not_tested=untested))
    return considerations


def _describe_gains(comparison: Comparison) -> list[Advice]:
    """Of each variant and tested metric where it is called better or worse, and the crossing."""
    if not comparison.gains:
        return []
    axes = comparison.axes
    pointers = [f"/gains/{index}" for index in range(len(comparison.gains))]
    if comparison.inference is Regime.INTERIM:
        return [Advice(text="Nothing is settled before every planned run has ended.", evidence=pointers)]
    if all(point.n < FEWEST_PAIRS for gain in comparison.gains for point in gain.points):
        text = f"Nothing is called from fewer than {FEWEST_PAIRS} pairs of seeds."
        return [Advice(text=text, evidence=pointers)]
    advice = []
    for gain, pointer in zip(comparison.gains, pointers, strict=True):
        metric = METRICS[gain.metric]
        clauses = [
            f"{verb} {where}"
            for call, verb in (("gain", "pays"), ("loss", "costs"))
            if (where := describe_calls(gain, call, axes))
        ]
        text = f"{gain.variant} in {metric.title.lower()}: "
        text += f"{' and '.join(clauses) or 'neither gain nor loss is called at any point'}."
        if clauses:
            text += _describe_crossing(gain, axes[0])
        advice.append(Advice(text=text, evidence=[pointer]))
    return advice


def _describe_crossing(gain: Gain, axis: AxisUsed) -> str:
    crossing = gain.crossing
    if crossing is None:
        return ""
    value = name_axis_value(axis.field, format_rounded(crossing.value))
    interval = describe_crossing_interval(crossing)
    return f" The mean gain changes its sign at {value} (95 % interval: {interval})."


def _describe_choices(comparison: Comparison) -> list[Advice]:
    """Which variant validation chooses at which points: a choice, and no claim."""
    chosen: dict[str, list[int]] = {}
    for index, item in enumerate(comparison.points):
        if item.best:
            chosen.setdefault(item.best.variant, []).append(index)
    texts = [f"{variant} at {_list_points(comparison, indexes)}" for variant, indexes in chosen.items()]
    if not texts:
        return []
    return [
        Advice(
            text=f"Chosen by the lowest validation loss: {'; '.join(texts)}.",
            evidence=[f"/points/{index}/best" for indexes in chosen.values() for index in indexes],
        )
    ]


def _list_points(comparison: Comparison, indexes: Sequence[int]) -> str:
    if len(indexes) == len(comparison.points) > 1:
        return "every point"
    return list_values([comparison.points[index].point for index in indexes], comparison.axes)
