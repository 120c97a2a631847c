"""What the API refuses, with which problem, and that nothing is stored."""

import json
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.http import problem_types
from models import datasets
from models.dataset_cards import DATASETS
from models.settings import Settings
from tests.factories import job_spec
from tests.integration.api.conftest import TestClient, over_sqlite

MEMBERS = {"type", "title", "status", "detail", "instance", "errors", "request_id"}
JSON = {"Content-Type": "application/json"}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document, after checking its common fields."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"

    def no_constants(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    document: dict[str, Any] = json.loads(answer.text, parse_constant=no_constants)
    assert set(document) == MEMBERS
    assert document["status"] == status
    assert document["instance"] == answer.url.path
    assert document["request_id"] == answer.headers["X-Request-Id"]
    return document


def pointers(answer: httpx.Response, status: int = 422) -> list[str]:
    return [error["pointer"] for error in problem(answer, status)["errors"]]


def stored(client: httpx.Client) -> int:
    jobs = client.get("/v1/jobs").json()["items"]
    experiments = client.get("/v1/experiments").json()["items"]
    return len(jobs) + len(experiments)


@over_sqlite
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"epoch": 3}', ["/epoch"]),
        ('{"training": {"epochs": 0}}', ["/training/epochs"]),
        ('{"training": {"epochs": "3"}}', ["/training/epochs"]),
        ('{"model": {"hidden_units": [1000000000]}}', ["/model/hidden_units/0"]),
        ('{"model": {"hidden_units": [16, 4097, 16]}}', ["/model/hidden_units/1"]),
        ('{"model": {"family": "rnn"}}', ["/model/family"]),
        ('{"model": {"filters": [8]}}', ["/model/filters"]),
        ('{"model": {"family": "cnn", "filters": [8, 0]}}', ["/model/filters/1"]),
        ('{"model": []}', ["/model"]),
        ('{"regularization": {"spatial_dropout": {}}}', ["/regularization/spatial_dropout"]),
        ('{"training": {"optimizer": {"name": "adamw"}}}', ["/training/optimizer/name"]),
        ('{"dataset": {"name": "imagenet"}}', ["/dataset/name"]),
        ('{"regularization": {"dropout": {"rate": NaN}}}', ["/regularization/dropout/rate"]),
        ('{"training": {"optimizer": {"learning_rate": Infinity}}}', ["/training/optimizer/learning_rate"]),
        ('{"training": {"optimizer": {"learning_rate": 1e999}}}', ["/training/optimizer/learning_rate"]),
        ('{"labels": {"a/b~c": 1}}', ["/labels/a~1b~0c"]),
        ('{"training": {"optimizer": {"momentum": 0.5}}}', ["/training/optimizer/momentum"]),
        ('{"dataset": {"name": "mnist_5k", "train_samples": 5000}}', ["/dataset/train_samples"]),
        ('{"name": "a\\u0000b"}', ["/name"]),
        ('{"labels": {"a\\u0000b": "c"}}', ["/labels/a\0b"]),
        ("[]", [""]),
        ("null", [""]),
        ('{"seed": -1, "priority": 101}', ["/priority", "/seed"]),
    ],
)
def test_a_bad_job_is_refused_at_its_field(client: httpx.Client, body: str, expected: list[str]) -> None:
    assert pointers(client.post("/v1/jobs", content=body, headers=JSON)) == expected
    assert pointers(client.post("/v1/jobs?dry_run=true", content=body, headers=JSON)) == expected
    assert stored(client) == 0


@over_sqlite
@pytest.mark.parametrize("body", ["", "{nope", '{"seed": 1', '{"name": "\\ud800"}', b"\xff", "[" * 5000])
def test_invalid_json_names_the_position(client: httpx.Client, body: str | bytes) -> None:
    answer = client.post("/v1/jobs", content=body, headers=JSON)
    document = problem(answer, 400)
    assert "line 1 column" in document["detail"] or "empty" in document["detail"]
    assert stored(client) == 0


VARIANTS = [{"name": "a", "changes": {}}, {"name": "b", "changes": {"regularization": {"l2": {}}}}]


@over_sqlite
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {
                "variants": [
                    VARIANTS[0],
                    {"name": "b", "changes": {"regularization": {"dropout": {"rate": 2}}}},
                ]
            },
            ["/variants/1/changes/regularization/dropout/rate"],
        ),
        (
            {"variants": [VARIANTS[0], {"name": "b", "changes": {"model": {"hidden_units": [4096] * 3}}}]},
            ["/variants/1/changes/model/hidden_units"],
        ),
        (
            {
                "variants": [
                    VARIANTS[0],
                    {"name": "b", "changes": {"training": {"optimizer": {"momentum": 0.5}}}},
                ]
            },
            ["/variants/1/changes/training/optimizer/momentum"],
        ),
        (
            {"variants": [VARIANTS[0], {"name": "b", "changes": {"model": {"filters": [8]}}}]},
            ["/variants/1/changes/model/filters"],
        ),
        ({"base": {"model": {"family": "cnn", "filters": [0]}}}, ["/base/model/filters/0"]),
        ({"base": {"model": {"hidden_units": [4096] * 3}}}, ["/base/model/hidden_units"]),
        ({"base": {"training": {"optimizer": {"momentum": 0.5}}}}, ["/base/training/optimizer/momentum"]),
        ({"variants": [VARIANTS[0], VARIANTS[0]]}, ["/variants"]),
        ({"variants": []}, ["/variants"]),
        (
            {"variants": [VARIANTS[0], {"name": "b", "changes": {"name": "a\0"}}]},
            ["/variants/1/changes/name"],
        ),
        ({"variants": [VARIANTS[0], {"name": "b\0"}]}, ["/variants/1/name"]),
        ({"baseline": "c"}, ["/baseline"]),
        ({"seeds": [1, 1]}, ["/seeds"]),
        ({"seeds": list(range(1001))}, ["/seeds"]),
        ({"replicates": 1001}, ["/replicates"]),
        ({"replicates": 2, "seeds": [0]}, ["/replicates"]),
        ({"preset": "nonsense"}, ["/preset"]),
        ({"preset": 3}, ["/preset"]),
        ({"preset": "dropout-vs-none", "variants": None}, ["/variants"]),
        ({"unknown": 1}, ["/unknown"]),
    ],
)
def test_a_bad_experiment_is_refused_at_its_field(
    client: httpx.Client, changes: dict[str, Any], expected: list[str]
) -> None:
    document = {"name": "x", "base": {"dataset": {"name": "mnist_5k"}}, "variants": VARIANTS} | changes
    if "base" in changes:
        document["base"] = {"dataset": {"name": "mnist_5k"}} | changes["base"]
    assert pointers(client.post("/v1/experiments", json=document)) == expected
    assert stored(client) == 0


def test_an_unavailable_dataset_is_refused(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], downloads=()))
    monkeypatch.setattr(datasets, "_failed_downloads", {})
    with TestClient(create_app(database_settings.model_copy(update={"data_dir": None}))) as client:
        refused = client.post("/v1/jobs", json={})
        assert pointers(refused) == ["/dataset/name"]
        assert refused.json()["type"] == "/problems/dataset_unavailable"
        assert "mnist_5k" in refused.json()["detail"]
        preset = client.post("/v1/experiments", json={"preset": "dropout-vs-none"})
        assert pointers(preset) == ["/base/dataset/name"]
        assert stored(client) == 0


def test_f1_a_damaged_dataset_is_not_available_and_refused_with_its_file(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], downloads=()))
    monkeypatch.setattr(datasets, "_failed_downloads", {})
    (tmp_path / "mnist.npz").write_bytes(b"PK\x03\x04 and then cut off")
    with TestClient(create_app(database_settings.model_copy(update={"data_dir": tmp_path}))) as client:
        listed = {dataset["name"]: dataset for dataset in client.get("/v1/datasets").json()["items"]}
        assert listed["mnist"]["available"] is False
        refused = client.post("/v1/jobs", json={})
        assert refused.json()["type"] == "/problems/dataset_unavailable"
        assert f"{tmp_path / 'mnist.npz'} is damaged" in refused.json()["errors"][0]["detail"]
        assert stored(client) == 0


@over_sqlite
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/jobs?limit=0", ["?limit"]),
        ("/v1/jobs?limit=201", ["?limit"]),
        ("/v1/jobs?stat=queued", ["?stat"]),
        ("/v1/jobs?state=done", ["?state"]),
        ("/v1/jobs?technique=magic", ["?technique"]),
        ("/v1/jobs?label=nameonly", ["?label"]),
        ("/v1/jobs?label=%00=a", ["?label"]),
        ("/v1/jobs?experiment=%00", ["?experiment"]),
        ("/v1/jobs?cursor=xyz", ["?cursor"]),
        ("/v1/jobs?created_after=yesterday", ["?created_after"]),
        ("/v1/jobs?created_before=0.5", ["?created_before"]),
        ("/v1/jobs?created_after=0001-01-01T00:00:00%2B14:00", ["?created_after"]),
        ("/v1/experiments?limit=0&cursor=%20", ["?limit"]),
        ("/v1/reports", ["?job"]),
        ("/v1/reports?job=%00", ["?job"]),
    ],
)
def test_a_bad_parameter_is_named(client: httpx.Client, path: str, expected: list[str]) -> None:
    assert pointers(client.get(path)) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/v1/jobs/",
        "/v1/jobs/job_none",
        "/v1/jobs/%00",
        "/v1/jobs/job_none/epochs",
        "/v1/jobs/job_none/events",
        "/v1/experiments/exp_none",
        "/v1/experiments/exp_none/report",
        "/v1/experiments/exp_none/curves",
        "/v1/reports?job=job_none",
        "/v1/techniques/magic",
    ],
)
def test_a_missing_resource_is_a_problem(client: httpx.Client, path: str) -> None:
    assert problem(client.get(path), 404)["errors"] == []


def test_an_unsupported_method_lists_the_allowed_ones(client: httpx.Client) -> None:
    answer = client.put("/v1/jobs")
    problem(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    # No job has this id, so none can be read, changed or deleted here.
    assert client.options("/v1/jobs/batch").headers["Allow"] == "POST"


def test_head_answers_as_get_does_but_for_the_body(client: httpx.Client) -> None:
    for path in ("/healthz", "/v1/jobs", "/v1/jobs/job_none", "/problems/conflict"):
        get, head = client.get(path), client.head(path)
        assert head.status_code == get.status_code
        assert head.content == b""
        same = ("Content-Type", "Content-Length")
        assert [head.headers[name] for name in same] == [get.headers[name] for name in same]
    refused = client.head("/v1/jobs/job_none/cancel")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


def test_every_route_refuses_unknown_query_parameters(client: httpx.Client) -> None:
    tested = 0
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            answer = client.request(method, path + "?no_such=1", content=b"{}", headers=JSON)
            assert "?no_such" in pointers(answer), path
            tested += 1
    assert tested > 30
    document = problem(client.get("/v1/experiments/exp_none/curves?points=3"), 422)
    assert "max_points" in document["errors"][0]["detail"]


def test_the_type_of_every_problem_links_to_its_explanation(client: httpx.Client) -> None:
    for kind in problem_types.TYPES.values():
        plain = client.get(kind.uri, headers={"Accept": "text/markdown"})
        assert (plain.status_code, plain.text) == (200, problem_types.render_page(kind))
        page = client.get(kind.uri, headers={"Accept": "text/html,*/*;q=0.1"})
        assert page.headers["Content-Type"].startswith("text/html")
        assert f"<h1>{kind.title}</h1>" in unescape(page.text)
    problem(client.get("/problems/nonsense"), 404)
    problem(client.get("/problems/conflict", headers={"Accept": "image/png"}), 406)


def test_only_json_is_read(client: httpx.Client) -> None:
    spec = job_spec().model_dump_json()
    form = client.post(
        "/v1/jobs", content=spec, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert "application/json" in problem(form, 415)["detail"]
    problem(client.post("/v1/jobs", content=spec), 415)
    assert stored(client) == 0
    accepted = client.post(
        "/v1/jobs", content=spec, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert accepted.status_code == 202


def test_the_size_limit_counts_received_bytes(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"name": "'
        yield from [b"x" * 1024] * 64
        yield b'"}'

    answer = client.post("/v1/jobs", content=pieces(), headers=JSON)
    assert "Content-Length" not in answer.request.headers
    assert "65,536" in problem(answer, 413)["detail"]
    problem(client.post("/v1/experiments", content=b" " * 70_000, headers=JSON), 413)
    assert stored(client) == 0


def test_an_unavailable_database_is_503(settings: Settings) -> None:
    lost = settings.model_copy(update={"home": Path("/nonexistent/folder")})
    with TestClient(create_app(lost)) as client:
        answer = client.post("/v1/jobs", json=job_spec().model_dump(mode="json"))
        assert problem(answer, 503)["type"] == "/problems/service_unavailable"
        assert int(answer.headers["Retry-After"]) > 0
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["database"] != "ok"
        assert client.get("/healthz").status_code == 200


def test_an_unexpected_exception_leaks_no_details(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings)

    @app.get("/boom")
    def boom() -> None:
        raise RuntimeError("a secret")

    with TestClient(app) as client:
        document = problem(client.get("/boom"), 500)
    assert "secret" not in json.dumps(document)
    assert document["request_id"] in caplog.text
    assert "a secret" in caplog.text


def test_a_valid_request_id_is_reused(client: httpx.Client) -> None:
    answer = client.get("/healthz", headers={"X-Request-Id": "trace-1.a_B"})
    assert answer.headers["X-Request-Id"] == "trace-1.a_B"
    replaced = client.get("/healthz", headers={"X-Request-Id": "a b;c"})
    assert replaced.headers["X-Request-Id"] != "a b;c"
