"""Batches of jobs: all or nothing, and the outcome of each cancelled job."""

from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Row, delete, update

from api.app import create_app
from api.jobs import batch_routes
from models.settings import Settings
from models.states import JobState
from models.store.database import Database
from models.store.job_search import find_jobs
from models.store.tables import Job
from tests.factories import job_in

SPEC: dict[str, Any] = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1}}


def batch(client: httpx.Client, *seeds: int, **changes: Any) -> list[str]:
    specs = [SPEC | changes | {"seed": seed} for seed in seeds]
    answer = client.post("/v1/jobs:batch", json={"jobs": specs})
    assert answer.status_code == 202, answer.text
    return [job["id"] for job in answer.json()["items"]]


def test_jobs_of_a_batch_are_answered_and_queued_in_order(client: httpx.Client) -> None:
    ids = batch(client, 3, 1, 2)
    stored = [client.get(f"/v1/jobs/{job_id}").json() for job_id in ids]
    assert [job["spec"]["seed"] for job in stored] == [3, 1, 2]
    assert [job["queue_position"] for job in stored] == [1, 2, 3]


@pytest.mark.parametrize(
    ("fault", "pointer"),
    [
        ({"training": {"epochs": 0}}, "/jobs/1/training/epochs"),
        ({"training": {"epochs": 3, "typo": 1}}, "/jobs/1/training/typo"),
        ({"dataset": {"name": "mnist_5k", "train_samples": 6000}}, "/jobs/1/dataset/train_samples"),
        ({"model": {"hidden_units": [4096] * 8}}, "/jobs/1/model/hidden_units"),
    ],
)
def test_one_invalid_job_rejects_the_whole_batch(
    client: httpx.Client, fault: dict[str, Any], pointer: str
) -> None:
    refused = client.post("/v1/jobs:batch", json={"jobs": [SPEC, SPEC | fault]})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
    assert client.get("/v1/jobs").json()["items"] == []


def test_an_empty_batch_and_one_that_is_too_large_are_refused(
    database_settings: Settings, database: Database
) -> None:
    settings = database_settings.model_copy(update={"max_batch_jobs": 2, "max_batch_bytes": 2048})
    with TestClient(create_app(settings)) as client:
        assert client.post("/v1/jobs:batch", json={"jobs": []}).status_code == 422
        refused = client.post("/v1/jobs:batch", json={"jobs": [SPEC] * 3})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/jobs")
        assert client.post("/v1/jobs:batch", json={"jobs": [SPEC] * 99}).status_code == 413


def test_a_batch_may_be_larger_than_a_single_body(client: httpx.Client) -> None:
    many = [SPEC | {"name": "x" * 150, "seed": seed} for seed in range(400)]
    assert len(str(many)) > 65_536
    answer = client.post("/v1/jobs:batch?dry_run=true", json={"jobs": many})
    assert answer.status_code == 200
    assert len(answer.json()["items"]) == 400
    assert client.get("/v1/jobs").json()["items"] == []


def test_matching_jobs_are_cancelled_oldest_first_and_listed(
    client: httpx.Client, database: Database
) -> None:
    ids = batch(client, 0, 1, 2, labels={"sweep": "7"})
    others = batch(client, 3)
    some = client.post("/v1/jobs:cancel", params={"label": "sweep=7", "limit": 2}).json()
    assert some == {
        "items": [{"id": job_id, "state": "cancelled", "outcome": "cancelled"} for job_id in ids[:2]],
        "more": True,
    }
    rest = client.post("/v1/jobs:cancel", params={"label": "sweep=7"}).json()
    assert ([item["id"] for item in rest["items"]], rest["more"]) == ([ids[2]], False)
    assert client.get(f"/v1/jobs/{others[0]}").json()["state"] == "queued"


def test_a_running_job_is_requested_to_cancel_and_ended_ones_are_unchanged(
    client: httpx.Client, database: Database
) -> None:
    running = job_in(database, JobState.RUNNING)
    job_in(database, JobState.SUCCEEDED)
    job_in(database, JobState.FAILED)
    answer = client.post("/v1/jobs:cancel", params={"dataset": "mnist_5k"}).json()
    assert answer["items"] == [{"id": running, "state": "running", "outcome": "requested"}]
    assert client.post("/v1/jobs:cancel", params={"state": "failed"}).json()["items"] == []


def test_jobs_that_end_or_are_deleted_meanwhile_do_not_prevent_cancelling_the_others(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted, ended, waiting = batch(client, 0, 1, 2, labels={"sweep": "8"})

    def find_then_end(*args: Any, **kwargs: Any) -> list[Row[Any]]:
        matching = find_jobs(*args, **kwargs)
        (session,) = args[:1]
        session.execute(delete(Job).where(Job.id == deleted))
        session.execute(update(Job).where(Job.id == ended).values(state=JobState.FAILED))
        return matching

    monkeypatch.setattr(batch_routes, "find_jobs", find_then_end)
    answer = client.post("/v1/jobs:cancel", params={"label": "sweep=8"})
    assert answer.json()["items"] == [
        {"id": ended, "state": "failed", "outcome": "ended"},
        {"id": waiting, "state": "cancelled", "outcome": "cancelled"},
    ]
    assert client.get(f"/v1/jobs/{waiting}").json()["state"] == "cancelled"


def test_cancelling_without_a_filter_is_refused(client: httpx.Client) -> None:
    batch(client, 0)
    assert client.post("/v1/jobs:cancel").status_code == 422
    assert client.post("/v1/jobs:cancel", params={"limit": 5}).status_code == 422
    assert client.post("/v1/jobs:cancel", params={"sort": "created_at"}).status_code == 422
    assert client.get("/v1/jobs").json()["items"][0]["state"] == "queued"
