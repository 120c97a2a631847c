"""Experiments over HTTP, on each database."""

from typing import Any

import httpx
import pytest
from sqlalchemy import event

from models.database import Database
from models.store import queue
from tests.factories import finish_job, result_record
from tests.integration.api.conftest import TestClient

DOCUMENT: dict[str, Any] = {
    "name": "small",
    "base": {"dataset": {"name": "mnist_5k"}, "model": {"hidden_units": [16]}, "training": {"epochs": 2}},
    "variants": [
        {"name": "none"},
        {"name": "dropout", "changes": {"regularization": {"dropout": {"rate": 0.5}}}},
    ],
    "seeds": [3, 7],
}


def create(client: httpx.Client, document: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/experiments", json=document)
    assert answer.status_code == 202, answer.text
    experiment: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == experiment["links"]["self"]
    return experiment


def jobs_of(client: httpx.Client, experiment: dict[str, Any]) -> list[dict[str, Any]]:
    """Oldest first."""
    jobs: list[dict[str, Any]] = client.get(f"{experiment['links']['jobs']}&limit=200").json()["items"]
    return jobs[::-1]


def test_an_experiment_makes_a_job_for_each_variant_and_seed(client: httpx.Client) -> None:
    experiment = create(client, DOCUMENT)
    assert experiment["baseline"] == "none"
    assert experiment["preset"] is None
    assert experiment["best"] is None
    assert experiment["progress"]["counts"]["queued"] == experiment["progress"]["total"] == 4
    jobs = jobs_of(client, experiment)
    assert [(job["variant"], job["spec"]["seed"]) for job in jobs] == [
        ("none", 3),
        ("dropout", 3),
        ("none", 7),
        ("dropout", 7),
    ]
    assert [job["spec"]["regularization"] for job in jobs[:2]] == [
        {},
        {"dropout": {"rate": 0.5, "input_rate": 0.0}},
    ]
    assert client.get(experiment["links"]["self"]).json() == experiment


def test_progress_counts_and_names_the_best(client: httpx.Client, database: Database) -> None:
    experiment = create(client, DOCUMENT)
    jobs = jobs_of(client, experiment)
    finish_job(database, jobs[0]["id"], result=result_record(test_accuracy=0.9))
    finish_job(database, jobs[1]["id"], result=result_record(test_accuracy=0.95))
    shown = client.get(experiment["links"]["self"]).json()
    assert shown["progress"]["counts"] == experiment["progress"]["counts"] | {"queued": 2, "succeeded": 2}
    assert (shown["progress"]["percent"], shown["progress"]["finished"]) == (50.0, False)
    assert shown["progress"]["eta_seconds"] == pytest.approx(2 * 5.5)
    assert shown["best"] == {"variant": "dropout", "job_id": jobs[1]["id"], "test_accuracy": 0.95}
    for job in jobs[2:]:
        finish_job(database, job["id"])
    done = client.get(experiment["links"]["self"])
    assert done.json()["progress"]["finished"] is True
    assert "Retry-After" not in done.headers


def test_the_preset_with_overrides(client: httpx.Client) -> None:
    experiment = create(
        client,
        {"preset": "dropout-vs-none", "base": {"dataset": {"name": "mnist_5k"}}, "seeds": [0, 1, 2]},
    )
    assert experiment["preset"] == "dropout-vs-none"
    assert experiment["progress"]["total"] == 6
    spec = experiment["spec"]
    assert spec["base"]["dataset"]["name"] == "mnist_5k"
    assert spec["base"]["dataset"]["validation_split"] == "last"
    assert spec["base"]["model"]["hidden_units"] == [512, 512]
    assert [variant["name"] for variant in spec["variants"]] == ["without Dropout", "with Dropout"]


def test_replicates_take_the_place_of_a_presets_seeds(client: httpx.Client) -> None:
    small = {"base": {"dataset": {"name": "mnist_5k"}}, "replicates": 2}
    experiment = create(client, {"preset": "l1-vs-l2", **small})
    assert experiment["spec"]["seeds"] == [0, 1]
    assert experiment["progress"]["total"] == 8


def test_a_resolved_experiment_can_be_posted_again(client: httpx.Client) -> None:
    experiment = create(client, DOCUMENT)
    assert create(client, experiment["spec"])["spec"] == experiment["spec"]


def test_all_of_an_experiment_is_stored_or_nothing(client: TestClient) -> None:
    engine = client.app.state.database.engine

    def lose_the_connection(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO events"):
            raise RuntimeError("lost in the middle")

    event.listen(engine, "before_cursor_execute", lose_the_connection)
    try:
        assert client.post("/v1/experiments", json=DOCUMENT).status_code == 500
    finally:
        event.remove(engine, "before_cursor_execute", lose_the_connection)
    assert client.get("/v1/experiments").json()["items"] == []
    assert client.get("/v1/jobs").json()["items"] == []


def test_experiments_are_paged(client: httpx.Client) -> None:
    names = [create(client, DOCUMENT | {"name": f"number {number}"})["name"] for number in range(3)]
    first = client.get("/v1/experiments?limit=2")
    second = client.get(first.links["next"]["url"])
    found = [item["name"] for page in (first, second) for item in page.json()["items"]]
    assert found == names[::-1]
    assert second.json()["next_cursor"] is None


def test_a_whole_experiment_is_cancelled(client: httpx.Client, database: Database) -> None:
    experiment = create(client, DOCUMENT)
    jobs = jobs_of(client, experiment)
    with database.write() as session:
        assert queue.claim(session, jobs[0]["id"], owner="test", lease_seconds=30)
    asked = client.post(experiment["links"]["cancel"])
    assert asked.status_code == 202
    assert asked.json()["progress"]["counts"]["cancelled"] == 3
    with database.write() as session:
        queue.fail(session, jobs[0]["id"], 1, code="x", message="x", retryable=False)
    assert client.post(experiment["links"]["cancel"]).status_code == 409


def test_a_job_that_ends_meanwhile_does_not_keep_the_others_from_being_cancelled(
    client: TestClient, database: Database
) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets no other writer in between")
    experiment = create(client, DOCUMENT)
    first = jobs_of(client, experiment)[0]["id"]
    with database.write() as session:
        queue.claim(session, first, owner="test", lease_seconds=30)
    engine = client.app.state.database.engine
    ended: list[str] = []

    def end_the_first(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FOR UPDATE" in statement and not ended:
            ended.append(first)
            with database.write() as session:
                queue.succeed(session, first, 1, result_record())

    event.listen(engine, "before_cursor_execute", end_the_first)
    try:
        answer = client.post(experiment["links"]["cancel"])
    finally:
        event.remove(engine, "before_cursor_execute", end_the_first)
    assert ended == [first]
    assert answer.status_code == 200, answer.text
    counts = answer.json()["progress"]["counts"]
    assert (counts["succeeded"], counts["cancelled"]) == (1, 3)
