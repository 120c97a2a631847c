"""Unit tests of the API's small modules."""

import base64
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.app import create_app
from api.catalogue import serialize_technique
from api.http.negotiation import negotiate
from api.http.pagination import decode_cursor, encode_cursor
from api.http.problems import KINDS, format_json_pointer
from api.jobs.serializers import compute_per_class_accuracy
from models.errors import InvalidSpec, RegbenchError
from models.settings import Settings
from models.store.job_search import Cursor, SortOrder
from models.techniques import CATALOGUE

HEAVY = [
    "tensorflow",
    "keras",
    "pandas",
    "matplotlib",
    "sklearn",
    "numpy",
    "scipy",
    "celery",
    "alembic",
    "opentelemetry.sdk",
    "opentelemetry.instrumentation",
]


def test_the_api_loads_no_heavy_package() -> None:
    program = f"import sys, api.app; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"


def test_a_page_has_what_draws_reports_imported_afterwards(tmp_path: Path) -> None:
    program = """
import sys, time
from fastapi.testclient import TestClient
from api.app import create_app
with TestClient(create_app(), base_url="http://localhost") as client:
    for path in ("/healthz", "/docs"):
        client.get(path).raise_for_status()
        print("matplotlib" in sys.modules)
    while not hasattr(sys.modules.get("api.reports.html"), "render"):
        time.sleep(0.05)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ) | {"REGBENCH_HOME": str(tmp_path), "REGBENCH_API_KEYS_REQUIRED": "false"},
        timeout=60,
    )
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("text/*", "text/html"),
        ("text/html;q=0.1, text/csv", "text/csv"),
        ("application/json;q=0, */*", "text/html"),
        ("TEXT/CSV", "text/csv"),
        ("image/png", None),
        ("text/html;q=nonsense", None),
    ],
)
def test_negotiation(accept: str, chosen: str | None) -> None:
    assert negotiate(accept, ["application/json", "text/html", "text/csv"]) == chosen


def test_pointers_are_escaped() -> None:
    assert format_json_pointer(["a/b", 0, "c~d"]) == "/a~1b/0/c~0d"
    assert format_json_pointer([]) == ""


@given(st.datetimes(timezones=st.just(UTC)))
def test_cursors_survive_encoding(moment: datetime) -> None:
    cursor = Cursor(moment, "job_0123")
    assert decode_cursor(encode_cursor(cursor)) == cursor


@given(st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_cursors_of_metrics_survive_encoding_to_the_last_digit(value: float, descending: bool) -> None:
    cursor, order = Cursor(value, "job_0123"), SortOrder("test_loss", descending)
    assert decode_cursor(encode_cursor(cursor, order), order) == cursor
    with pytest.raises(InvalidSpec, match="sort"):
        decode_cursor(encode_cursor(cursor, order), SortOrder("test_loss", not descending))


@pytest.mark.parametrize(
    ("by", "value"), [("test_loss", "nan"), ("epochs_run", "1e3"), ("parameters", 2**31), ("created_at", 3)]
)
def test_invalid_cursors_are_refused(by: str, value: object) -> None:
    forged = base64.urlsafe_b64encode(f"{by} {value} job_1".encode()).decode()
    with pytest.raises(InvalidSpec, match="not a cursor"):
        decode_cursor(forged, SortOrder(by, descending=False))


@given(st.text(max_size=60))
def test_malformed_cursors_are_refused_without_a_crash(cursor: str) -> None:
    with pytest.raises(InvalidSpec, match="cursor"):
        decode_cursor(cursor)


def test_the_accuracy_of_a_class_is_the_diagonal_share_of_its_row() -> None:
    # Two 0s, both right; four 1s, one right; no 2 at all, though one 1 was taken for one.
    assert compute_per_class_accuracy([[2, 0, 0], [2, 1, 1], [0, 0, 0]]) == [1.0, 0.25, None]


def test_every_domain_error_is_mapped_to_a_problem() -> None:
    def tree(kind: type[RegbenchError]) -> list[type[RegbenchError]]:
        return [kind, *(descendant for child in kind.__subclasses__() for descendant in tree(child))]

    # Errors that stay inside a worker, or are mapped as their parent, have no entry of their own.
    inside = {"TrainingFailed", "LeaseLost", "ArtifactCorrupted", "ArtifactsUnavailable"}
    models = [kind for kind in tree(RegbenchError) if kind.__module__ == "models.errors"]
    assert {kind for kind in models if kind.__name__ not in inside} == set(KINDS)


def test_a_techniques_ranges_are_those_that_validate_a_job() -> None:
    card = serialize_technique("dropout", CATALOGUE["dropout"])
    rate = card.parameters[0]
    assert (rate.name, rate.type, rate.default, rate.minimum, rate.maximum) == ("rate", "number", 0.5, 0, 0.9)
    position = serialize_technique("batch_normalization", CATALOGUE["batch_normalization"]).parameters[1]
    assert position.choices == ["before_activation", "after_activation"]


def test_openapi_describes_problems_and_request_bodies(settings: Settings) -> None:
    app = create_app(settings)
    document = app.openapi()
    assert app.openapi() is document
    text = str(document)
    assert "HTTPValidationError" not in text
    for path in document["paths"].values():
        for operation in path.values():
            assert "application/problem+json" in operation["responses"]["500"]["content"]
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    specification, clone = body["anyOf"]
    assert specification == {"$ref": "#/components/schemas/JobSpec"}
    assert clone["required"] == ["from"]

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(item) for item in value.values()))
        return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()

    declared = {
        f"#/components/{kind}/{name}" for kind, parts in document["components"].items() for name in parts
    }
    assert references(document) <= declared
