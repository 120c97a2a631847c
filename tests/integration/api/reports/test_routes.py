"""Reports over HTTP, on each database."""

import csv
import hashlib
import io
import re
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import event, update

from models.artifacts import ArtifactStore
from models.errors import NotFound
from models.settings import Settings
from models.store import queue
from models.store.database import Database
from models.store.frozen_reports import get_report
from models.store.tables import Result
from models.test_predictions import TestPredictions
from tests.factories import finish_job, finished_job, job_spec, result_record
from tests.integration.api.conftest import TestClient
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of

MEDIA_TYPES = {
    "json": "application/json",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "tex": "application/x-tex",
}


@pytest.fixture
def experiment(client: httpx.Client, database: Database) -> dict[str, Any]:
    """Two variants with two seeds: seed 3 finished in both; of seed 7 one failed, and one waits."""
    created = create(client, DOCUMENT)
    jobs = jobs_of(client, created)
    finish_job(database, jobs[0]["id"], result=result_record(test_accuracy=0.9, test_loss=0.3))
    finish_job(database, jobs[1]["id"], result=result_record(test_accuracy=0.92, test_loss=0.25))
    with database.write() as session:
        claimed = queue.claim(session, jobs[2]["id"], owner="test", lease_seconds=30)
        assert claimed is not None
        queue.fail(session, jobs[2]["id"], 1, code="diverged", message="the loss is NaN", retryable=False)
    return created


@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_a_partial_report_in_every_format(
    client: httpx.Client, experiment: dict[str, Any], form: str
) -> None:
    address = experiment["links"]["report"]
    by_parameter = client.get(address, params={"format": form})
    by_header = client.get(address, headers={"Accept": MEDIA_TYPES[form]})
    for answer in (by_parameter, by_header):
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].partition(";")[0] == MEDIA_TYPES[form]
        assert "the loss is NaN" in answer.text or form in ("csv", "tex")
        assert "diverged" not in answer.text
    if form in ("md", "html"):
        assert "Partial: 2 of 4 jobs have finished." in by_header.text
        assert "Model none - Test Loss: 0.3000, Test Accuracy: 0.9000" in by_header.text
    if form == "html":
        assert "default-src 'none'" in by_header.headers["Content-Security-Policy"]


def test_the_report_as_json(client: httpx.Client, experiment: dict[str, Any]) -> None:
    report = client.get(experiment["links"]["report"]).json()
    assert (report["complete"], report["finished"], report["jobs"]) == (False, 2, 4)
    assert report["seeds"] == [3, 7]
    assert [variant["name"] for variant in report["variants"]] == ["none", "dropout"]
    assert [point["epoch"] for point in report["variants"][0]["curve"]] == [1, 2, 3]
    assert {(missing["variant"], missing["seed"], missing["state"]) for missing in report["missing"]} == {
        ("none", 7, "failed"),
        ("dropout", 7, "queued"),
    }
    (contrast,) = report["contrasts"]
    assert contrast["seeds"] == [3]
    assert contrast["differences"]["test_loss"]["mean"] == pytest.approx(-0.05)
    assert contrast["differences"]["test_loss"]["t_p"] is None
    assert report["datasets"] == [
        {
            "name": "mnist_5k",
            "sha256": ["b" * 64],
            "classes": 10,
            "test_examples": 1000,
            "judged_models": 2,
            "class_names": None,
        }
    ]
    assert "/v1/experiments" in report["repeat"]


def test_the_report_as_csv_has_a_row_for_each_job(client: httpx.Client, experiment: dict[str, Any]) -> None:
    text = client.get(experiment["links"]["report"], params={"format": "csv"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["variant"], row["seed"], row["state"]) for row in rows] == [
        ("none", "3", "succeeded"),
        ("dropout", "3", "succeeded"),
        ("none", "7", "failed"),
        ("dropout", "7", "queued"),
    ]
    assert float(rows[1]["test_accuracy"]) == 0.92


def test_an_unsupported_format_is_refused(client: httpx.Client, experiment: dict[str, Any]) -> None:
    answer = client.get(experiment["links"]["report"], headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert "text/markdown" in answer.json()["detail"]
    wrong = client.get(experiment["links"]["report"], params={"format": "pdf"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["pointer"] == "?format"


def test_curves(client: httpx.Client, experiment: dict[str, Any]) -> None:
    curves = client.get(experiment["links"]["curves"], params={"max_points": 2}).json()
    assert [item["variant"] for item in curves["items"]] == ["none", "dropout"]
    assert [point["epoch"] for point in curves["items"][0]["validation_loss"]] == [1, 3]
    assert client.get(experiment["links"]["curves"], params={"max_points": 1}).status_code == 422


def test_any_jobs_are_compared(client: httpx.Client, database: Database) -> None:
    plain = [finished_job(database, job_spec(seed=seed)).id for seed in (0, 1)]
    other = [
        finished_job(database, job_spec(seed=seed, regularization={"l2": {"factor": 0.001}})).id
        for seed in (1, 0)
    ]
    report = client.get("/v1/reports", params={"job": [*other, *plain]}).json()
    assert [(variant["name"], variant["n"]) for variant in report["variants"]] == [
        ("L2 0.001", 2),
        ("none", 2),
    ]
    assert report["baseline"] == "none"
    assert report["contrasts"][0]["seeds"] == [0, 1]
    twice = client.get("/v1/reports", params={"job": [plain[0], plain[0]], "format": "md"})
    assert "The only job has finished." in twice.text


def test_a_deleted_job_is_reported_as_missing(client: httpx.Client, experiment: dict[str, Any]) -> None:
    job = jobs_of(client, experiment)[0]
    assert client.delete(job["links"]["self"]).status_code == 204
    report = client.get(experiment["links"]["report"]).json()
    assert (report["finished"], report["jobs"]) == (1, 4)
    assert any("deleted" in note for note in report["notes"])


def test_queries_do_not_grow_with_jobs(client: TestClient, database: Database) -> None:
    def queries(replicates: int) -> int:
        document = {key: value for key, value in DOCUMENT.items() if key != "seeds"}
        created = create(client, document | {"replicates": replicates, "reuse": False})
        for job in jobs_of(client, created):
            finish_job(database, job["id"], epochs=1)
        seen: list[str] = []
        engine = client.app.state.database.engine

        def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            seen.append(statement)

        event.listen(engine, "before_cursor_execute", count)
        assert client.get(created["links"]["report"]).status_code == 200
        event.remove(engine, "before_cursor_execute", count)
        return len([statement for statement in seen if statement.lstrip().startswith("SELECT")])

    assert queries(1) == queries(6)


def test_each_chart_is_listed_and_drawn(
    client: httpx.Client, database: Database, database_settings: Settings, experiment: dict[str, Any]
) -> None:
    finish_job(database, jobs_of(client, experiment)[3]["id"])
    logs = np.log(np.full((2, 2), 0.5, np.float32))
    predictions = TestPredictions(logs, np.array([0, 1], np.int32)).to_bytes()
    digest = ArtifactStore(database_settings).put("predictions.npz", predictions)
    stored = {"predictions_path": "predictions.npz", "predictions_sha256": digest}
    with database.write() as session:
        session.execute(update(Result).values(stored))
    ensembles = client.get(f"/v1/experiments/{experiment['id']}/ensembles").json()["items"]
    assert ensembles == client.get(experiment["links"]["report"]).json()["ensembles"]
    assert [[size["members"] for size in item["sizes"]] for item in ensembles] == [[1, 2]]
    cards = client.get(experiment["links"]["charts"]).json()["items"]
    assert {"learning-curves", "first-layer", "reliability"} <= {card["name"] for card in cards}
    for card in cards:
        svg = client.get(card["svg"])
        assert (svg.status_code, svg.headers["content-type"]) == (200, "image/svg+xml"), card["name"]
    png = client.get(cards[0]["png"].partition("?")[0], headers={"Accept": "image/png"})
    assert png.headers["content-type"] == "image/png"
    assert png.content.startswith(b"\x89PNG")


def test_time_to_a_target_is_over_seeds_and_counts_failures_as_never(
    client: httpx.Client, experiment: dict[str, Any]
) -> None:
    address = f"/v1/experiments/{experiment['id']}/time-to-target"
    none, dropout = client.get(address, params={"target": 0.3}).json()["items"]
    jobs = {job["id"]: job for job in jobs_of(client, experiment)}
    failed = next(job["variant"] for job in jobs.values() if job["state"] == "failed")
    # 0.45, 0.225 and 0.15 after epochs of 1.5 seconds; one of the four jobs has not ended.
    for item in (none, dropout):
        ended = 1 + (item["variant"] == failed)
        assert (item["seeds"], item["reached"]) == (ended, 1)
        median = (2, 3.0) if ended == 1 else (None, None)
        assert (item["epochs"]["value"], item["seconds"]["value"]) == median
        assert item["flops"]["low"] is None
    default = client.get(address).json()
    assert default["target"] == pytest.approx(0.15)
    assert default["items"][0]["epochs"]["value"] == (None if failed == "none" else 3)
    accurate = client.get(address, params={"metric": "validation_accuracy", "target": 0.91}).json()
    assert {item["reached"] for item in accurate["items"]} == {1}
    refused = client.get(address, params={"metric": "test_loss"})
    assert refused.status_code == 422
    never = client.get(address, params={"target": 0}).json()["items"]
    assert [item["reached"] for item in never] == [0, 0]


def test_an_unavailable_chart_has_a_reason(client: httpx.Client) -> None:
    created = create(client, DOCUMENT)
    unknown = client.get(f"{created['links']['charts']}/nothing")
    assert unknown.status_code == 404
    assert "choose one of differences" in unknown.json()["detail"]
    early = client.get(f"{created['links']['charts']}/gap")
    assert early.status_code == 404
    assert "no job of it has finished" in early.json()["detail"]
    other = client.get(f"{created['links']['charts']}/gap", headers={"Accept": "text/plain"})
    assert other.status_code == 406
    assert client.get("/v1/experiments/exp_none/charts").status_code == 404


def test_f8_jobs_that_differ_in_a_text_setting_have_different_names(
    client: httpx.Client, database: Database
) -> None:
    techniques: list[dict[str, Any]] = [
        {"batch_normalization": {"position": "before_activation"}},
        {"batch_normalization": {"position": "after_activation"}},
        {"early_stopping": {"restore_best": True}},
        {"early_stopping": {"restore_best": False}},
        {},
    ]
    jobs = [finished_job(database, job_spec(regularization=item)).id for item in techniques]
    report = client.get("/v1/reports", params={"job": jobs}).json()
    names = [variant["name"] for variant in report["variants"]]
    assert names[:2] == [
        "Batch normalization momentum 0.9",
        "Batch normalization momentum 0.9, position after activation",
    ]
    assert not any(name.endswith(")") for name in names)
    page = client.get("/compare", params={"job": jobs}, headers={"Accept": "text/html"}).text
    titles = set(re.findall(r'data-job="[^"]*">([^<]*)<', page))
    assert titles == {f"{name}, seed 0" for name in names}


def test_another_baseline_is_judged_as_one_chosen_afterwards(
    client: httpx.Client, database: Database
) -> None:
    created = create(client, DOCUMENT | {"seeds": list(range(6))})
    for job in jobs_of(client, created):
        finish_job(database, job["id"], result=result_record(test_accuracy=0.9 + job["spec"]["seed"] / 1000))
    address = created["links"]["report"]
    planned, other = client.get(address), client.get(address, params={"baseline": "dropout"})
    assert planned.headers["ETag"] != other.headers["ETag"]
    assert (planned.json()["inference"], planned.json()["level"]) == ("fixed", 0.045)
    report = other.json()
    assert (report["baseline"], report["inference"], report["level"]) == ("dropout", "extended", 0.005)
    assert [contrast["variant"] for contrast in report["contrasts"]] == ["none"]
    assert "The baseline was chosen after the plan, whose baseline is none" in report["methods"]
    assert "dropout is not the planned baseline, none" in report["headline"]
    assert client.get(address, params={"baseline": "none"}).json()["inference"] == "fixed"
    refused = client.get(address, params={"baseline": "magic"})
    assert refused.json()["errors"][0]["pointer"] == "?baseline"
    pdf = "differences?format=pdf&width=3.3&baseline=dropout&version=6"
    chart = client.get(f"{created['links']['charts']}/{pdf}")
    assert chart.content.startswith(b"%PDF")
    assert client.get(f"{created['links']['charts']}/differences?width=9").status_code == 422


def test_a_frozen_report_stays_the_same_when_its_experiment_is_extended_and_deleted(
    client: httpx.Client, experiment: dict[str, Any], database: Database
) -> None:
    here = experiment["links"]["self"]
    assert client.get(f"{here}/reports").json() == {"items": []}
    created = client.post(f"{here}/reports")
    assert created.status_code == 201
    frozen, address = created.json(), created.headers["Location"]
    assert address == f"/v1/reports/{frozen['digest']}"
    assert frozen["digest"] in frozen["citation"]
    assert not frozen["complete"]
    before = {form: client.get(address, params={"format": form}) for form in MEDIA_TYPES}
    for form, answer in before.items():
        assert hashlib.sha256(answer.content).hexdigest() == frozen["sha256"][form]
        assert answer.headers["Content-Type"].partition(";")[0] == MEDIA_TYPES[form]
    assert hashlib.sha256(before["json"].content).hexdigest() == frozen["digest"]
    assert before["json"].json()["finished"] == 2
    finish_job(database, jobs_of(client, experiment)[3]["id"], result=result_record())
    client.post(f"{here}/extend", json={"seeds": [8]})
    client.post(f"{here}/cancel")
    assert client.get(f"{here}/report", params={"format": "json"}).json()["finished"] == 3
    again = client.post(f"{here}/reports").json()
    listed = client.get(f"{here}/reports").json()["items"]
    assert {report["digest"] for report in listed} == {frozen["digest"], again["digest"]}
    assert client.delete(here).status_code == 204
    after = {form: client.get(address, params={"format": form}) for form in MEDIA_TYPES}
    assert {form: answer.content for form, answer in after.items()} == {
        form: answer.content for form, answer in before.items()
    }
    tag = after["csv"].headers["ETag"]
    assert client.get(address, params={"format": "csv"}, headers={"If-None-Match": tag}).status_code == 304
    assert len(client.get(f"{here}/reports").json()["items"]) == 2
    assert client.delete(address).status_code == 204
    gone = client.get(address, params={"format": "csv"}, headers={"If-None-Match": tag})
    assert (gone.status_code, "its owner has deleted it" in gone.json()["detail"]) == (404, True)
    assert client.delete(address).status_code == 404
    assert [report["digest"] for report in client.get(f"{here}/reports").json()["items"]] == [again["digest"]]


def test_a_frozen_report_of_another_owner_does_not_exist(
    client: httpx.Client, experiment: dict[str, Any], database: Database
) -> None:
    digest = client.post(f"{experiment['links']['self']}/reports").json()["digest"]
    with database.for_owner("ada").read() as session, pytest.raises(NotFound):
        get_report(session, digest)
