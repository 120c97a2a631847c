"""docs/reference agrees with the API on results and metrics."""

from collections.abc import Iterator

import pytest

from api.http.problem_types import TYPES, render_page
from api.http.schemas import ResponseModel
from api.jobs.schemas import Layer, ResultDetails
from api.metrics import Snapshot
from models.states import JobState
from models.store.counters import COUNTERS
from tests.unit.models.test_reference import REFERENCE, row, rows_of


def metric_rows() -> Iterator[str]:
    snapshot = Snapshot(dict.fromkeys(JobState, 0), dict.fromkeys(COUNTERS, 0.0))
    for metric in snapshot.collect():
        sample = metric.samples[0]
        labels = ", ".join(f"`{label}`" for label in sample.labels) or "-"
        yield row(f"`{sample.name}`", metric.type, labels, metric.documentation)


def field_rows(model: type[ResponseModel]) -> list[str]:
    return [row(f"`{name}`", field.description or "") for name, field in model.model_fields.items()]


@pytest.mark.parametrize(
    ("page", "heading", "rows"),
    [
        ("metrics.md", "Every metric", [*metric_rows()]),
        ("results.md", "Every field", field_rows(ResultDetails)),
        ("results.md", "Each layer", field_rows(Layer)),
    ],
)
def test_a_table_agrees_with_the_code(page: str, heading: str, rows: list[str]) -> None:
    assert rows_of(page, heading) == rows


@pytest.mark.parametrize("model", [ResultDetails, Layer])
def test_every_field_is_explained(model: type[ResponseModel]) -> None:
    assert all(field.description for field in model.model_fields.values())


def test_the_page_of_problems_has_every_type_in_full() -> None:
    text = (REFERENCE / "problems.md").read_text()
    assert text.partition("\n## ")[2] == "\n".join(map(render_page, TYPES.values())).removeprefix("## ")
