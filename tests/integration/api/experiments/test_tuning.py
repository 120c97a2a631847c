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


@over_sqlite
def test_a_follow_up_judges_the_settings_that_its_pilot_chose(client: TestClient, database: Database) -> None:
    pilot = client.post("/v1/experiments", json=DOCUMENT).json()
    page = client.get(f"/experiments/{pilot['id']}", headers={"Accept": "text/html"}).text
    assert "0 of 2 seeds finished in all variants" in page, "those that it will have"
    too_early = client.post("/v1/experiments", json={"confirms": pilot["id"]})
    assert too_early.status_code == 422
    errors = {error["pointer"]: error["detail"] for error in too_early.json()["errors"]}
    detail = f"{pilot['id']} has chosen no setting of l2, which a follow-up would judge"
    assert errors["/variants/1/name"] == detail
    finish(database, pilot["id"], Purpose.TUNE)
    with database.write() as session:
        auto_extend_experiments(session)
    finish(database, pilot["id"], Purpose.JUDGE)
    trials = client.get(f"/v1/experiments/{pilot['id']}/trials").json()
    tune = client.get(pilot["links"]["self"]).json()["spec"]["tune"]
    document = {"confirms": pilot["id"], "variants": [{"name": "l2"}], "tune": DOCUMENT["tune"]}
    strength = {"tune": {"parameters": {"/regularization/l2/factor": {"values": [0.1]}}}}
    refused: dict[str, dict[str, Any]] = {
        "/tune": {"tune": {"trials": 3}},
        "/seeds": {"seeds": trials["items"][0]["seeds"]},
        "/variants/1/tune": {"variants": [DOCUMENT["variants"][1] | strength]},
        "/variants/1/name": {"variants": [{"name": "L1"}]},
    }
    for pointer, changes in refused.items():
        response = client.post("/v1/experiments", json=document | changes)
        assert pointer in {error["pointer"] for error in response.json()["errors"]}
    assert client.post("/v1/experiments?dry_run=true", json=document).json()["jobs"] == 12
    follow_up = client.post("/v1/experiments", json=document).json()
    assert follow_up["spec"]["tune"] == tune
    progress = follow_up["progress"]
    assert (progress["total"], progress["deleted"], follow_up["auto_extending"]) == (12, 0, False)
    jobs = client.get(f"/v1/jobs?experiment={follow_up['id']}&limit=100").json()["items"]
    assert {(job["purpose"], job["spec"]["seed"]) for job in jobs} == {
        ("judge", seed) for seed in range(2, 8)
    }
    rates = {job["variant"]: job["spec"]["training"]["optimizer"]["learning_rate"] for job in jobs}
    assert rates == {name: tune["settings"][name][tune["chosen"][name]][RATE] for name in ("none", "l2")}
    # Neither an extension nor a clone tunes.
    extended = client.post(follow_up["links"]["extend"], json={"seeds": [90]}).json()
    assert (extended["progress"]["total"], extended["auto_extending"]) == (14, False)
    again = client.post("/v1/experiments?dry_run=true", json={"from": follow_up["id"]}).json()
    assert (again["jobs"], again["reused"]) == (14, 0)
    finish(database, follow_up["id"], Purpose.JUDGE)
    with database.write() as session:
        assert not auto_extend_experiments(session)
    path = follow_up["links"]["self"]
    assert client.get(f"{path}/trials").json() == trials
    assert trials["experiment_id"] == pilot["id"]
    tuning = client.get(f"{path}/report").json()["tuning"]
    assert (tuning["experiment_id"], [item["finished"] for item in tuning["variants"]]) == (
        pilot["id"],
        [2, 2],
    )
    sentence = f"it judges the settings that {pilot['id']} chose, whose trials these are"
    assert sentence in client.get(f"{path}/report?format=md").text
    assert client.delete(pilot["links"]["self"]).status_code == 204
    assert {trial["state"] for trial in client.get(f"{path}/trials").json()["items"]} == {"deleted"}
    assert "that an experiment that was deleted chose" in client.get(f"{path}/report?format=md").text
    addition = {"variants": [{"name": "L1", "changes": {"regularization": {"l1": {}}}}]}
    assert client.post(follow_up["links"]["extend"], json=addition).status_code == 422
    assert client.post(follow_up["links"]["extend"], json={"seeds": [91]}).json()["progress"]["total"] == 16
