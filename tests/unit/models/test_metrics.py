"""The catalogue of metrics agrees with what is measured, stored and reported."""

from dataclasses import fields

from api.reports.schemas import Differences, Metrics
from models.metrics import METRICS
from models.records import Evaluation
from models.store.tables import SORTABLE_METRICS

NAMES = {metric.name for metric in METRICS}


def test_every_metric_is_measured_and_can_be_sorted_by() -> None:
    assert len(NAMES) == len(METRICS)
    assert {field.name for field in fields(Evaluation)} >= NAMES
    assert set(SORTABLE_METRICS) == NAMES


def test_reports_summarize_what_their_tables_show_and_contrast_what_is_tested() -> None:
    assert set(Metrics.model_fields) == {metric.name for metric in METRICS if metric.table}
    assert set(Differences.model_fields) == {metric.contrast for metric in METRICS if metric.tested}


def test_a_metric_has_a_heading_where_it_has_a_column() -> None:
    assert all(bool(metric.heading) == bool(metric.table) for metric in METRICS)
