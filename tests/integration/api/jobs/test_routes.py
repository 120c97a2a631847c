"""Jobs over HTTP, on each database."""

import csv
import hashlib
import io
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import null, update

from models import predictions
from models.artifacts import ArtifactStore
from models.settings import Settings
from models.states import JobState
from models.store import queue
from models.store.database import Database
from models.store.tables import Result
from models.store.transitions import get_job
from models.store.workers import announce_worker
from models.test_predictions import TestPredictions
from tests.applications import application
from tests.factories import finish_job, finished_job, job_in, job_spec, result_record
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.object_store import outage

FIELDS = [
    *["id", "name", "state", "requested_action", "spec", "spec_hash", "experiment_id", "variant"],
    *[
        "point",
        "part",
        "purpose",
        "retry_of",
        "labels",
        "notes",
        "archived",
        "priority",
        "attempt",
        "crashes",
        "queue_position",
        "progress",
        "created_at",
        "started_at",
        "finished_at",
    ],
    *["stop_reason", "error", "result", "links"],
]


def submit(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/jobs", json=job_spec(**changes).model_dump(mode="json"))
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["items"]]


def claim(database: Database, job_id: str) -> None:
    with database.write() as session:
        assert queue.claim(session, job_id, owner="test", lease_seconds=30)


def test_a_posted_job_is_stored_and_returned_with_every_field(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json={"dataset": {"name": "mnist_5k"}, "name": "mine"})
    assert answer.status_code == 202
    job = answer.json()
    assert list(job) == FIELDS
    assert job["state"] == "queued"
    assert job["queue_position"] == 1
    assert job["spec"]["training"]["epochs"] == 10
    assert job["links"]["model"] is None
    assert answer.headers["Location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    stored = client.get(answer.headers["Location"])
    assert stored.json() == job
    assert stored.headers["Retry-After"] == "1"


def test_a_dry_run_estimates_the_cost_and_stores_no_job(client: httpx.Client, database: Database) -> None:
    spec = job_spec().model_dump(mode="json")
    before = client.post("/v1/jobs?dry_run=true", json=spec)
    assert before.status_code == 200
    cost = before.json()
    assert cost["parameters"] == 785 * 16 + 17 * 10
    assert cost["estimated_seconds"] is None
    result = result_record(training_flops=1e10, training_seconds=4.0, compile_seconds=2.0)
    job_id = finished_job(database, result=result).id
    after_trainings = client.post("/v1/jobs?dry_run=true", json=spec).json()
    training = 4.0 * cost["training_flops"] / 1e10
    assert after_trainings["estimated_seconds"] == pytest.approx(training + 2.0)
    with database.write() as session:
        job = get_job(session, job_id)
        assert job.started_at
        # 3 s more than training and compilation, which every job takes again.
        job.finished_at = job.started_at + timedelta(seconds=9)
        announce_worker(session, "host:1", processes=4)
    after_trainings = client.post("/v1/jobs?dry_run=true", json=spec).json()
    assert after_trainings["estimated_seconds"] == pytest.approx(training + 2.0 + 3.0, abs=0.001)
    # Four processes compile two programs each, but not more than there are jobs.
    specs = [spec | {"seed": seed} for seed in range(5)] + [spec | {"regularization": {"l2": {}}}]
    batch = client.post("/v1/jobs:batch?dry_run=true", json={"jobs": specs}).json()
    assert batch["estimated_seconds"] == pytest.approx(6 * (training + 2.0 + 3.0) / 4, abs=0.001)
    assert (batch["jobs"], batch["training_flops"]) == (6, pytest.approx(6 * cost["training_flops"]))
    assert len(ids(client.get("/v1/jobs"))) == 1


def test_after_tiny_jobs_a_large_one_is_not_estimated_at_weeks(
    client: httpx.Client, database: Database
) -> None:
    def estimate(**spec: Any) -> dict[str, Any]:
        document = job_spec(**spec).model_dump(mode="json")
        answer: dict[str, Any] = client.post("/v1/jobs?dry_run=true", json=document).json()
        return answer

    tiny = {"dataset": {"train_samples": 250}, "model": {"hidden_units": [16]}, "training": {"epochs": 3}}
    operations = estimate(**tiny)["training_flops"]
    finished_job(
        database,
        result=result_record(training_flops=operations, training_seconds=4.0, compile_seconds=0.0),
    )
    assert estimate(**tiny)["estimated_seconds"] == pytest.approx(4.0)
    large = estimate(dataset={"name": "mnist"}, model={"hidden_units": [512, 512]}, training={"epochs": 10})
    assert 0 < large["estimated_seconds"] < 3600


def test_pages_are_stable_while_jobs_arrive(client: httpx.Client) -> None:
    jobs = [submit(client, name=str(number))["id"] for number in range(5)]
    first = client.get("/v1/jobs?limit=2&state=queued")
    assert ids(first) == [jobs[4], jobs[3]]
    submit(client, name="newcomer")
    second = client.get(first.links["next"]["url"])
    assert ids(second) == [jobs[2], jobs[1]]
    third = client.get("/v1/jobs", params={"limit": 2, "cursor": second.json()["next_cursor"]})
    assert ids(third) == [jobs[0]]
    assert third.json()["next_cursor"] is None
    assert "next" not in third.links
    assert ids(client.get(third.links["first"]["url"]))[1:] == [jobs[4]]


def test_filters(client: httpx.Client, database: Database) -> None:
    plain = submit(client, labels={"team": "a=b", 'a "quoted" name': "c"}, priority=1)["id"]
    dropout = submit(client, regularization={"dropout": {}, "l2": {}})["id"]
    l1 = submit(client, regularization={"l1": {}})["id"]
    finish_job(database, l1)
    assert ids(client.get("/v1/jobs?technique=l2")) == [dropout]
    assert ids(client.get("/v1/jobs?technique=l1&technique=dropout")) == [l1, dropout]
    assert ids(client.get("/v1/jobs?state=succeeded")) == [l1]
    assert ids(client.get("/v1/jobs?state=succeeded&state=queued&limit=200")) == [l1, dropout, plain]
    assert ids(client.get("/v1/jobs?label=team%3Da%3Db")) == [plain]
    assert ids(client.get("/v1/jobs", params={"label": 'a "quoted" name=c'})) == [plain]
    assert ids(client.get("/v1/jobs?dataset=mnist")) == []
    assert ids(client.get("/v1/jobs?experiment=exp_none")) == []
    assert ids(client.get("/v1/jobs?created_after=2999-01-01T00:00:00Z")) == []
    assert len(ids(client.get("/v1/jobs?created_before=2999-01-01T00:00:00Z"))) == 3
    places = {job["id"]: job["queue_position"] for job in client.get("/v1/jobs").json()["items"]}
    assert places == {plain: 1, dropout: 2, l1: None}


def test_a_finished_job_shows_its_result_history_and_events(client: httpx.Client, database: Database) -> None:
    job_id = finished_job(database, epochs=3).id
    answer = client.get(f"/v1/jobs/{job_id}")
    job = answer.json()
    assert "Retry-After" not in answer.headers
    assert job["state"] == "succeeded"
    assert job["stop_reason"] == "completed"
    assert job["result"]["test_accuracy"] == 0.975
    assert job["result"]["engine"] == {
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
        "device": "CPU",
        "threads": 1,
        "regbench": "0.1.0",
    }
    assert job["links"]["model"] == f"/v1/jobs/{job_id}/model"
    epochs = client.get(job["links"]["epochs"]).json()["items"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    later = client.get(f"{job['links']['epochs']}?after=2").json()["items"]
    assert later == epochs[2:]
    events = client.get(job["links"]["events"]).json()["items"]
    assert [event["to_state"] for event in events] == ["queued", "running", "succeeded"]


def test_a_job_shows_its_layers_and_classes_and_a_list_does_not(
    client: httpx.Client, database: Database
) -> None:
    job_id = finished_job(database).id
    result = client.get(f"/v1/jobs/{job_id}").json()["result"]
    assert (result["near_zero_weight_fraction"], result["compilations"]) == (0.02, 3)
    assert result["layers"][0] == {
        "name": "dense",
        "shape": [784, 16],
        "weight_norm": 12.0,
        "zero_fraction": 0.0,
        "near_zero_fraction": 0.02,
        "zero_inputs_fraction": 0.0,
    }
    assert result["confusion_matrix"][3] == [0, 0, 0, 7, 0, 3, 0, 0, 0, 0]
    assert result["per_class_accuracy"] == [1, 1, 1, 0.7, 1, 1, 1, 1, 1, 1]
    [listed] = client.get("/v1/jobs").json()["items"]
    details = {"layers", "confusion_matrix", "per_class_accuracy", "robustness"}
    assert listed["result"] == {name: value for name, value in result.items() if name not in details}


def test_details_that_an_older_release_did_not_record_are_null(
    client: httpx.Client, database: Database
) -> None:
    job_id = finished_job(database).id
    with database.write() as session:
        session.execute(
            update(Result).values(near_zero_weight_fraction=None, layers=null(), confusion=null())
        )
    result = client.get(f"/v1/jobs/{job_id}").json()["result"]
    absent = ["near_zero_weight_fraction", "layers", "confusion_matrix", "per_class_accuracy"]
    assert [result[name] for name in absent] == [None] * 4


def test_epochs_as_csv(client: httpx.Client, database: Database) -> None:
    job_id = finished_job(database, epochs=2).id
    answer = client.get(f"/v1/jobs/{job_id}/epochs", headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["train_loss"]) == 0.4
    refused = client.get(f"/v1/jobs/{job_id}/epochs", headers={"Accept": "image/png"})
    assert refused.status_code == 406
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_cancel_reports_whether_it_is_done(client: httpx.Client, database: Database) -> None:
    waiting, running = submit(client)["id"], submit(client)["id"]
    claim(database, running)
    at_once = client.post(f"/v1/jobs/{waiting}/cancel")
    assert (at_once.status_code, at_once.json()["state"]) == (200, "cancelled")
    response = client.post(f"/v1/jobs/{running}/cancel")
    assert (response.status_code, response.json()["state"]) == (202, "running")
    again = client.post(f"/v1/jobs/{waiting}/cancel")
    assert again.status_code == 409
    assert again.json()["type"] == "/problems/conflict"
    assert client.post("/v1/jobs/job_none/cancel").status_code == 404


def test_pause_and_resume_report_whether_they_are_done(client: httpx.Client, database: Database) -> None:
    waiting, running = submit(client)["id"], submit(client)["id"]
    claim(database, running)
    at_once = client.post(f"/v1/jobs/{waiting}/pause")
    assert (at_once.status_code, at_once.json()["state"]) == (200, "paused")
    assert at_once.json()["queue_position"] is None
    response = client.post(f"/v1/jobs/{running}/pause")
    assert (response.status_code, response.json()["state"]) == (202, "running")
    assert response.json()["requested_action"] == "pause"
    again = client.post(f"/v1/jobs/{waiting}/pause")
    assert (again.status_code, again.json()) == (200, at_once.json())
    resumed = client.post(f"/v1/jobs/{waiting}/resume")
    assert (resumed.status_code, resumed.json()["state"]) == (200, "queued")
    assert resumed.json()["queue_position"] == 1
    withdrawn = client.post(f"/v1/jobs/{running}/resume")
    assert (withdrawn.status_code, withdrawn.json()["requested_action"]) == (200, None)


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
def test_an_action_that_the_state_forbids_is_a_conflict(
    client: httpx.Client, database: Database, verb: str
) -> None:
    done = finished_job(database).id
    answer = client.post(f"/v1/jobs/{done}/{verb}")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/conflict"
    assert "succeeded" in answer.json()["detail"]
    assert client.post(f"/v1/jobs/job_none/{verb}").status_code == 404


def test_a_retry_is_a_new_job_with_its_own_queue_position(client: httpx.Client) -> None:
    old = submit(client, name="mine", labels={"team": "a"}, priority=7)
    refused = client.post(f"/v1/jobs/{old['id']}/retry")
    assert refused.status_code == 409
    assert "only a failed or cancelled job" in refused.json()["detail"]
    client.post(f"/v1/jobs/{old['id']}/cancel")
    answer = client.post(f"/v1/jobs/{old['id']}/retry")
    assert answer.status_code == 202
    new = answer.json()
    assert new["retry_of"] == old["id"] != new["id"]
    assert answer.headers["Location"] == new["links"]["self"] == f"/v1/jobs/{new['id']}"
    for field in ("name", "labels", "priority", "spec", "spec_hash"):
        assert new[field] == old[field]
    again = client.post(f"/v1/jobs/{old['id']}/retry")
    assert (again.status_code, again.json()["id"]) == (200, new["id"])
    assert again.headers["Location"] == new["links"]["self"]


def test_the_links_are_those_that_the_state_allows(client: httpx.Client, database: Database) -> None:
    def verbs(job: dict[str, Any]) -> set[str]:
        links = {verb: job["links"][verb] for verb in ("cancel", "pause", "resume", "retry")}
        assert all(link in (None, f"/v1/jobs/{job['id']}/{verb}") for verb, link in links.items())
        return {verb for verb, link in links.items() if link}

    job = submit(client)
    here = job["links"]["self"]
    assert verbs(job) == {"cancel", "pause"}
    claim(database, job["id"])
    assert verbs(client.post(f"{here}/pause").json()) == {"cancel", "resume"}
    assert verbs(client.post(f"{here}/cancel").json()) == set()
    with database.write() as session:
        queue.stop(session, job["id"], 1)
    assert verbs(client.get(here).json()) == {"retry"}
    assert verbs(client.get(f"/v1/jobs/{finished_job(database).id}").json()) == set()


def test_the_queue_position_follows_the_priority(client: httpx.Client) -> None:
    plain, low, high = (submit(client, priority=priority)["id"] for priority in (0, -1, 5))

    def places() -> dict[str, int | None]:
        return {job["id"]: job["queue_position"] for job in client.get("/v1/jobs").json()["items"]}

    assert places() == {high: 1, plain: 2, low: 3}
    client.post(f"/v1/jobs/{high}/pause")
    assert places() == {high: None, plain: 1, low: 2}


def test_the_model_can_be_downloaded_and_is_deleted_with_its_job(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    artifacts = ArtifactStore(database_settings)
    job_id = job_in(database, JobState.QUEUED)
    model = f"jobs/{job_id}/2/model.keras"
    digest = artifacts.put(model, b"a model")
    finish_job(database, job_id, result=result_record(model_path=model, model_sha256=digest))
    # A file that a crashed attempt left, and one of another job.
    artifacts.put(f"jobs/{job_id}/1/checkpoint-0003-ab.npz", b"1")
    artifacts.put("jobs/job_other/1/model.keras", b"another model")
    answer = client.get(f"/v1/jobs/{job_id}/model")
    assert hashlib.sha256(answer.content).hexdigest() == digest
    assert f"{job_id}.keras" in answer.headers["Content-Disposition"]
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert client.get(f"/v1/jobs/{job_id}").status_code == 404
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 404
    assert [*artifacts.list_files()] == ["jobs/job_other/1/model.keras"]


def test_test_predictions_are_served_as_npz_and_csv_or_404_says_why_not(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    job_id = job_in(database, JobState.QUEUED)
    name = f"jobs/{job_id}/1/test_predictions.npz"
    predicted = TestPredictions(np.log(np.float32([[0.75, 0.25], [0.1, 0.9]])), np.array([0, 1], np.int32))
    digest = ArtifactStore(database_settings).put(name, predicted.to_bytes())
    finish_job(database, job_id, result=result_record(predictions_path=name, predictions_sha256=digest))
    url = f"/v1/jobs/{job_id}/test-predictions"
    answer = client.get(url)
    assert (answer.headers["Content-Type"], answer.headers["ETag"]) == (
        "application/octet-stream",
        f'"{digest}"',
    )
    with np.load(io.BytesIO(answer.content)) as arrays:
        assert arrays["log_probabilities"].dtype == np.float32
        np.testing.assert_array_equal(arrays["log_probabilities"], predicted.log_probabilities)
        assert arrays["labels"].tolist() == [0, 1]
    header, *rows = client.get(url, headers={"Accept": "text/csv"}).text.splitlines()
    assert header == "image,label,log_probability_0,log_probability_1"
    numbers = np.float32([row.split(",")[2:] for row in rows])
    np.testing.assert_array_equal(numbers, predicted.log_probabilities)
    # `format` has precedence, also over what is not offered.
    picture = {"Accept": "image/png"}
    assert client.get(url, params={"format": "csv"}, headers=picture).text.splitlines() == [header, *rows]
    assert client.get(url, headers=picture).status_code == 406
    old = finished_job(database, result=result_record(predictions_path="jobs/x/1/test_probabilities.npy")).id
    for path, reason in (
        (old, "has been removed; train the job again"),
        (submit(client)["id"], "no model"),
    ):
        missing = client.get(f"/v1/jobs/{path}/test-predictions")
        assert (missing.status_code, reason in missing.json()["detail"]) == (404, True)


@over_sqlite
def test_d5_an_object_store_that_is_away_is_a_503_and_prevents_no_deletion(
    database_settings: Settings, database: Database
) -> None:
    settings = database_settings.model_copy(update={"artifacts_url": "unreliable://models"})
    name = "jobs/x/1/model.keras"
    digest = ArtifactStore(settings).put(name, b"a model")
    job = finished_job(database, result=result_record(model_path=name, model_sha256=digest))
    with TestClient(application(settings)) as client:
        with outage():
            away = client.get(f"/v1/jobs/{job.id}/model")
            assert (away.status_code, "Retry-After" in away.headers) == (503, True)
            assert "artifacts cannot be reached" in away.json()["detail"]
        assert client.get(f"/v1/jobs/{job.id}/model").content == b"a model"
        with outage():
            # Its files are removed by the next sweep that finds the store (worker/sweeper.py).
            assert client.delete(f"/v1/jobs/{job.id}").status_code == 204


def test_test_predictions_of_older_jobs_are_made_from_the_model_once(
    client: httpx.Client, database: Database, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "jobs/x/1/model.keras"
    ArtifactStore(database_settings).put(name, b"a model")
    record = result_record(model_path=name, predictions_path="jobs/x/1/test_probabilities.npy")
    job = finished_job(database, job_spec(dataset={"name": "mnist_5k"}), result=record)
    requests: list[int] = []

    def predict(_: Settings, job_ids: list[str], images: bytes) -> list[list[list[float]]]:
        assert job_ids == [job.id]
        pixels = np.frombuffer(images, "<f4").reshape(-1, 784)
        assert 0 <= pixels.min() < pixels.max() == 1
        requests.append(len(pixels))
        return [[[1.0, *[0.0] * 9]] * len(pixels)]

    monkeypatch.setattr(predictions, "predict", predict)
    url = f"/v1/jobs/{job.id}/test-predictions"
    answers = [client.get(url), client.get(url)]
    assert answers[0].content == answers[1].content
    assert requests == [256, 256, 256, 232]
    with np.load(io.BytesIO(answers[0].content)) as arrays:
        assert arrays["log_probabilities"].shape == (1000, 10)
        assert np.isfinite(arrays["log_probabilities"]).all()
        assert arrays["labels"].shape == (1000,)
    again = client.get(url, headers={"If-None-Match": answers[0].headers["ETag"]})
    assert again.status_code == 304


def test_a_store_that_cannot_be_written_does_not_undo_a_cancel(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_store: ArtifactStore, _job_id: str) -> list[str]:
        raise PermissionError("read-only")

    monkeypatch.setattr(ArtifactStore, "list_checkpoints", fails)
    answer = client.post(f"/v1/jobs/{job_in(database, JobState.PAUSED)}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


def test_a_missing_model_is_a_problem(client: httpx.Client) -> None:
    job = submit(client)
    answer = client.get(f"/v1/jobs/{job['id']}/model")
    assert answer.status_code == 404
    assert "queued" in answer.json()["detail"]


def test_a_job_that_has_not_ended_is_not_deleted(client: httpx.Client, database: Database) -> None:
    job = submit(client)
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 409
    with database.read() as session:
        assert get_job(session, job["id"]).state == "queued"


def test_a_failed_job_has_its_error(client: httpx.Client, database: Database) -> None:
    job = submit(client)
    with database.write() as session:
        claimed = queue.claim(session, job["id"], owner="test", lease_seconds=30)
        assert claimed is not None
        queue.fail(session, job["id"], claimed.attempt, code="diverged", message="NaN", retryable=False)
    failed = client.get(f"/v1/jobs/{job['id']}").json()
    assert failed["state"] == "failed"
    assert failed["error"] == {"code": "diverged", "message": "NaN", "retryable": False}


@over_sqlite
@pytest.mark.parametrize(
    ("path", "document", "pointers"),
    [
        ("/v1/jobs", {"name": " "}, ["/name"]),
        ("/v1/jobs", {"labels": {"a=b": "c"}}, ["/labels/a=b"]),
        ("/v1/jobs", {"labels": {"": "c"}}, ["/labels/"]),
        ("/v1/jobs:batch", {"jobs": [{"labels": {"a.b": "c"}}]}, ["/jobs/0/labels/a.b"]),
        (
            "/v1/experiments",
            {"name": " ", "variants": [{"name": "\u200b"}, {"name": " "}]},
            ["/name", "/variants/0/name", "/variants/1/name"],
        ),
        (
            "/v1/experiments",
            {"name": "a", "variants": [{"name": "b", "changes": {"labels": {"a,b": "c"}}}]},
            ["/variants/0/changes/labels/a,b"],
        ),
        (
            "/v1/experiments",
            {"name": "a", "base": {"labels": {"a=b": "c"}}},
            ["/base/labels/a=b", "/variants"],
        ),
        ("/v1/keys", {"name": "\u2003", "owner": "a", "scope": "read"}, ["/name"]),
    ],
)
def test_f11_f16_names_that_cannot_be_seen_or_filtered_are_refused(
    client: httpx.Client, path: str, document: dict[str, Any], pointers: list[str]
) -> None:
    answer = client.post(path, json=document)
    assert answer.status_code == 422, answer.text
    refused = [error["pointer"] for error in answer.json()["errors"]]
    # A list with an invalid item counts as too short, too.
    assert refused[: len(pointers)] == pointers
