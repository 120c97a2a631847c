"""The catalogue of metrics: what reports take from it, and how values are shown."""

import pytest

from api.reports import formatting, latex
from api.reports.schemas import Differences, Metrics
from models.metrics import CONTRASTED, METRICS, REPORTED, EvaluationMetrics, format_signed_interval
from tests import comparisons


def test_every_metric_is_a_field_of_an_evaluation() -> None:
    assert METRICS.keys() <= EvaluationMetrics.__dataclass_fields__.keys()
    assert [metric.name for metric in METRICS.values()] == list(METRICS)


def test_reports_summarize_what_their_tables_show_and_contrast_what_is_tested() -> None:
    assert list(Metrics.model_fields) == [metric.name for metric in REPORTED]
    assert {metric.name for metric in REPORTED} == {
        metric.name for metric in METRICS.values() if metric.table
    }
    assert list(Differences.model_fields) == [metric.contrast for metric in CONTRASTED]


@pytest.mark.parametrize(
    ("name", "value", "half_width", "text"),
    [
        ("test_accuracy", 0.97891, 0.0, "97.89"),
        ("test_accuracy", 0.97891, 0.0011, "97.89 ±0.11"),
        ("test_loss", 0.07123, 0.0, "0.0712"),
        ("parameters", 1_234_567, 0.0, "1,234,567"),
        ("epochs_run", 12.5, 0.25, "12.5 ±0.2"),
        ("training_flops", 1.25e12, 0.0, "1,250.0"),
    ],
)
def test_a_value_has_the_digits_and_scale_of_its_metric(
    name: str, value: float, half_width: float, text: str
) -> None:
    assert METRICS[name].format_value(value, half_width) == text


def test_no_number_rounds_to_nothing() -> None:
    loss, accuracy, epochs = METRICS["test_loss"], METRICS["test_accuracy"], METRICS["best_epoch"]
    assert loss.format_value(0.00002) == "0.000020"
    assert loss.format_value(0.0) == "0.0000"
    assert accuracy.format_value(0.97, 0.00001) == "97.0000 ±0.0010"
    # The rounding of the numbers themselves is no interval.
    assert accuracy.format_value(0.97, 1e-15) == "97.00 ±0.00"
    assert (epochs.format_value(3.0), epochs.format_value(3.25)) == ("3", "3.2")


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (0.2, -0.1, 0.5, "+0.20 (-0.10 to +0.50)"),
        (0.198, -0.004, 0.4, "+0.198 (-0.004 to +0.400)"),
        (-0.198, -0.4, 0.00004, "-0.19800 (-0.40000 to +0.00004)"),
        (-0.001, -0.4, 0.4, "0.00 (-0.40 to +0.40)"),
        (0.0, 0.0, 0.0, "0.00 (0.00 to 0.00)"),
        # The rounding of the numbers themselves is on no side.
        (0.2, -1e-17, 0.4, "+0.20 (0.00 to +0.40)"),
        (-0.001, None, None, "-0.0010"),
    ],
)
def test_an_interval_shows_on_which_side_of_zero_it_ends(
    mean: float, low: float | None, high: float | None, text: str
) -> None:
    assert format_signed_interval(mean, low, high, 2) == text


def test_a_difference_of_two_percentages_is_in_points() -> None:
    gap, accuracy = METRICS["generalization_gap_accuracy"], METRICS["test_accuracy"]
    assert (gap.format.unit, gap.contrast_unit, gap.format_value(0.0156)) == ("points", "points", "1.56")
    assert (accuracy.format.unit, accuracy.contrast_unit) == ("%", "points")
    assert gap.contrast == "generalization_gap_accuracy_points"
    comparison = comparisons.full()
    head, row, *_ = formatting.build_variant_rows(comparison)
    cells = dict(zip(head, row, strict=True))
    assert (cells["gap (accuracy), points"], cells["test accuracy"][-1]) == ("6.00", "%")
    assert r"gap (accuracy), points" in latex.render(comparison)
