"""No route, page or export has a test measure of a job that tunes, or fails because there is none."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from models.metrics import METRICS
from models.run_key import Purpose
from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from models.store.experiment_runs import get_runs
from tests.factories import finish_job, result_record
from tests.integration.api.conftest import TestClient, over_sqlite

RATE = "/training/optimizer/learning_rate"
DOCUMENT: dict[str, Any] = {
    "name": "tuned",
    "base": {"dataset": {"name": "mnist_5k"}, "model": {"hidden_units": [16]}, "training": {"epochs": 3}},
    "variants": [{"name": "none"}, {"name": "l2", "changes": {"regularization": {"l2": {}}}}],
    "replicates": 2,
    "tune": {"parameters": {RATE: {"low": 1e-4, "high": 1e-2, "scale": "log"}}, "trials": 2},
}
ON_TEST = {name for name, metric in METRICS.items() if metric.judged or name.startswith("test_")}
UNTESTED = dict.fromkeys((*ON_TEST, "confusion", "test_correct", "predictions_path", "predictions_sha256"))


def finish(database: Database, experiment_id: str, purpose: Purpose) -> list[str]:
    """Each run of that purpose succeeds; returns the jobs' ids."""
    with database.read() as session:
        job_ids = [run.job.id for run in get_runs(session, experiment_id, purpose)]
    for job_id in job_ids:
        record = result_record(**(UNTESTED if purpose == Purpose.TUNE else {}))
        finish_job(database, job_id, result=record)
    return job_ids


def iter_objects(document: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON document."""
    if isinstance(document, dict):
        yield document
    children = document.values() if isinstance(document, dict) else document
    for child in children if isinstance(document, dict | list) else ():
        yield from iter_objects(child)


def find_measured(item: dict[str, Any]) -> list[str]:
    """What an object of JSON, or a row of CSV, has of the test images."""
    return [
        name
        for name, value in item.items()
        if name.removeprefix("result.") in ON_TEST and value not in (None, "")
    ]


@over_sqlite
def test_no_route_page_or_export_has_a_test_metric_of_a_tuning_job(
    client: TestClient, database: Database
) -> None:
    experiment_id = client.post("/v1/experiments", json=DOCUMENT).json()["id"]
    tuning = finish(database, experiment_id, Purpose.TUNE)
    request_all(client, experiment_id, tuning, forms={"application/json"})
    with database.write() as session:
        auto_extend_experiments(session)
    judged = finish(database, experiment_id, Purpose.JUDGE)
    with database.write() as session:
        auto_extend_experiments(session)
    assert client.get(f"/v1/experiments/{experiment_id}").json()["progress"]["finished"]
    request_all(client, experiment_id, tuning, forms={"application/json", "text/csv", "text/html"})
    assert len(judged) == 4
    trials = client.get(f"/v1/experiments/{experiment_id}/trials").json()["items"]
    assert not [name for item in iter_objects(trials) for name in item if name.startswith("test_")]
    assert [trial["chosen"] for trial in trials].count(True) == 2
    seed = trials[0]["seeds"][0]
    refused = client.post(f"/v1/experiments/{experiment_id}/extend", json={"seeds": [seed]})
    assert (refused.status_code, f"use {seed}" in refused.text) == (422, True)


def request_all(client: TestClient, experiment_id: str, job_ids: list[str], *, forms: set[str]) -> None:
    """Request whatever can be read of an experiment and of its tuning jobs, in these forms."""
    first, second = job_ids[:2]
    routes = client.get("/openapi.json").json()["paths"]
    requests: list[tuple[str, str]] = []
    for path, operations in routes.items():
        content = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if re.search(r"^/v1/(jobs|experiments)", path):
            requests += [(path, form) for form in sorted(forms & {*content})]
    pages = [
        "/experiments",
        "/experiments/{experiment_id}",
        "/jobs",
        "/jobs/{job_id}",
        "/jobs/{job_id}/mistakes",
    ]
    pages += [f"/compare?job={first}&job={second}", "/status", "/try", "/learn"]
    requests += [(page, "text/html") for page in pages]
    queries = [f"/v1/reports?job={first}&job={second}", "/v1/jobs?experiment={experiment_id}&limit=100"]
    queries += ["/v1/jobs?sort=-test_accuracy", "/v1/jobs?sort=test_loss&metric=test_loss<1"]
    requests += [(query, "application/json") for query in queries]
    assert len(requests) > 25
    for route, form in requests:
        path = route.replace("{experiment_id}", experiment_id).replace("{job_id}", first)
        if "{" in path:
            continue
        response = client.get(path, headers={"Accept": form})
        assert response.status_code < 500, (path, form, response.text)
        jobs: list[dict[str, Any]] = []
        if response.headers.get("content-type", "").startswith("application/json"):
            jobs = [item for item in iter_objects(response.json()) if item.get("id") in job_ids]
        elif form == "text/csv":
            rows = csv.DictReader(io.StringIO(response.text))
            jobs = [row for row in rows if {*job_ids} & {*row.values()}]
        measured = [name for job in jobs for item in iter_objects(job) for name in find_measured(item)]
        assert not measured, (path, form, jobs)
