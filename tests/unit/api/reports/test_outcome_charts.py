"""The charts of results: what their marks and titles say agrees with what the report calls."""

import pytest
from matplotlib.figure import Figure

from api.reports.charts import CHARTS
from api.reports.schemas import Comparison
from tests import comparisons


def draw(comparison: Comparison) -> Figure:
    return CHARTS["differences"].draw(comparison)


def get_headings(comparison: Comparison) -> list[str]:
    return [axes.get_title(loc="left") for axes in draw(comparison).axes]


def update_last(comparison: Comparison, metric: str, **changes: object) -> Comparison:
    """The same, but for the last variant's difference in a metric."""
    *others, last = comparison.contrasts
    assert last.differences is not None
    difference = getattr(last.differences, metric).model_copy(update=changes)
    differences = last.differences.model_copy(update={metric: difference})
    contrasts = [*others, last.model_copy(update={"differences": differences})]
    return comparison.model_copy(update={"contrasts": contrasts})


def test_a_difference_that_is_not_called_has_a_hollow_dot() -> None:
    figure = draw(update_last(comparisons.full(("none", "dropout", "l2")), "test_accuracy_points", call=None))
    faces = [
        [line.get_markerfacecolor() for line in axes.get_lines() if line.get_marker() == "o"]
        for axes in figure.axes
    ]
    assert faces == [["black", "white"], ["black", "black"]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["called higher or lower", "not called"]


@pytest.mark.parametrize(("level", "confidence"), [(0.045, "95.5"), (0.005, "99.5"), (0.05, "95")])
def test_headings_say_how_confident_the_intervals_of_tested_metrics_are(
    level: float, confidence: str
) -> None:
    comparison = comparisons.full(("none", "dropout")).model_copy(update={"level": level})
    lines = f"\n{confidence} % intervals"
    assert get_headings(comparison) == [f"test accuracy, points{lines}", f"test loss, nats{lines}"]


def test_what_is_not_tested_has_95_percent_intervals_and_without_intervals_none_is_named() -> None:
    comparison = comparisons.full(("none", "dropout"))
    described = update_last(comparison, "test_loss", tested=False, call=None)
    assert get_headings(described)[1] == "test loss, nats\n95 % intervals"
    unbounded = update_last(comparison, "test_loss", simultaneous_high=None)
    assert get_headings(unbounded)[1] == "test loss, nats"
    assert get_headings(comparisons.full(("none", "dropout"), seeds=1)) == [
        "test accuracy, points",
        "test loss, nats",
    ]


def test_the_charts_title_claims_no_confidence() -> None:
    assert "95 %" not in CHARTS["differences"].title + CHARTS["differences"].caption
