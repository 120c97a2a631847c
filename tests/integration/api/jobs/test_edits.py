"""What people call, sort and queue jobs by can be changed; archived jobs leave the lists."""

from typing import Any

import pytest

from models.store import queue
from models.store.database import Database
from tests.factories import finished_job, result_record
from tests.integration.api.conftest import TestClient, over_sqlite

SPEC = {"dataset": {"name": "mnist_5k"}, "name": "first", "labels": {"a": "1", "b": "2"}}


def listed(client: TestClient, query: str = "") -> list[str]:
    return [job["id"] for job in client.get(f"/v1/jobs{query}").json()["items"]]


def test_a_merge_patch_changes_what_it_names(client: TestClient) -> None:
    here = client.post("/v1/jobs", json=SPEC).json()["links"]["self"]
    before = client.get(here)
    patch = {"name": "second", "labels": {"a": None, "c": "3"}, "notes": "odd\ncurve", "priority": 7}
    body = client.patch(here, json=patch).json()
    assert (body["name"], body["labels"], body["notes"], body["priority"], body["archived"]) == (
        "second",
        {"b": "2", "c": "3"},
        "odd\ncurve",
        7,
        False,
    )
    # What trains it is the same, and what a retry is made from has the new name.
    assert body["spec_hash"] == before.json()["spec_hash"]
    assert body["spec"] == before.json()["spec"] | {key: body[key] for key in ("name", "labels", "priority")}
    assert client.get(here).json() == body
    assert client.get(here, headers={"If-None-Match": before.headers["ETag"]}).status_code == 200
    assert listed(client, "?label=c%3D3") == [body["id"]]
    assert listed(client, "?label=a%3D1") == []
    reset = client.patch(here, json={"name": None, "labels": None, "notes": None, "priority": None}).json()
    assert (reset["name"], reset["labels"], reset["notes"], reset["priority"]) == (None, {}, None, 0)


def test_the_media_type_of_merge_patches_is_accepted(client: TestClient) -> None:
    here = client.post("/v1/jobs", json=SPEC).json()["links"]["self"]
    for media_type in ("application/merge-patch+json", "application/json"):
        headers = {"Content-Type": media_type}
        assert client.patch(here, content=b'{"archived": true}', headers=headers).json()["archived"] is True
    assert (
        client.patch(here, content=b"archived=1", headers={"Content-Type": "text/plain"}).status_code == 415
    )
    assert client.patch("/v1/jobs/job_none", json={}).status_code == 404


@over_sqlite
@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"seed": 3}, "/seed"),
        ({"name": "\u200b"}, "/name"),
        ({"labels": {"a.b": "c"}}, "/labels/a.b"),
        ({"labels": {str(number): "" for number in range(32)}}, "/labels"),
        ({"priority": 101}, "/priority"),
        ({"archived": "yes"}, "/archived"),
        ({"notes": "\0"}, "/notes"),
    ],
)
def test_an_invalid_change_changes_nothing(client: TestClient, patch: dict[str, Any], pointer: str) -> None:
    here = client.post("/v1/jobs", json=SPEC).json()["links"]["self"]
    refused = client.patch(here, json=patch | {"notes": patch.get("notes", "x")})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
    assert client.get(here).json()["notes"] is None


def test_a_higher_priority_is_claimed_first(client: TestClient, database: Database) -> None:
    client.post("/v1/jobs", json=SPEC)
    second = client.post("/v1/jobs", json=SPEC).json()
    assert client.patch(second["links"]["self"], json={"priority": 1}).json()["queue_position"] == 1
    with database.write() as session:
        claimed = queue.claim_next(session, owner="worker", lease_seconds=30)
        assert claimed is not None
        assert claimed.id == second["id"]


def test_archived_jobs_are_listed_on_request(client: TestClient, database: Database) -> None:
    old, new = finished_job(database).id, finished_job(database).id
    client.patch(f"/v1/jobs/{old}", json={"archived": True})
    for sort in ("-created_at", "-test_accuracy"):
        for also in ("", "&dataset=mnist_5k", "&state=succeeded"):
            assert listed(client, f"?sort={sort}{also}") == [new]
            assert listed(client, f"?sort={sort}{also}&archived=true") == [old]
            assert sorted(listed(client, f"?sort={sort}{also}&archived=all")) == sorted([old, new])
    assert client.get("/v1/jobs?archived=yes").status_code == 422
    client.patch(f"/v1/jobs/{old}", json={"archived": False})
    assert listed(client) == [new, old]


@over_sqlite
def test_a_verb_after_a_colon_is_an_alias(client: TestClient) -> None:
    job = client.post("/v1/jobs", json=SPEC).json()
    assert client.post(f"/v1/jobs/{job['id']}:cancel").json()["state"] == "cancelled"
    assert client.post("/v1/jobs:batch", json={"jobs": [SPEC]}).status_code == 202
    assert client.post("/v1/jobs/batch", json={"jobs": [SPEC]}).status_code == 202
    assert client.post("/v1/jobs/none:cancel").status_code == 404


@pytest.mark.parametrize("sort", ["-created_at", "created_at", "test_loss"])
def test_jobs_are_found_by_ranges_of_metrics(client: TestClient, database: Database, sort: str) -> None:
    ids = [
        finished_job(database, result=result_record(test_accuracy=accuracy, test_loss=loss)).id
        for accuracy, loss in ((0.95, 0.1), (0.98, 0.2), (0.99, 0.3))
    ]
    client.post("/v1/jobs", json=SPEC)

    def find(*ranges: str, **query: str) -> list[int]:
        answer = client.get("/v1/jobs", params={"metric": ranges, "sort": sort, **query})
        assert answer.status_code == 200, answer.text
        return sorted(ids.index(job["id"]) for job in answer.json()["items"])

    assert find("test_accuracy>=0.98") == [1, 2]
    assert find("test_accuracy>0.98") == find("test_accuracy >= 9.9e-1", "test_loss>0.2") == [2]
    assert find("test_accuracy>=.98", "test_loss<0.3", dataset="mnist_5k") == [1]
    assert find("test_accuracy<=0.95", state="succeeded") == [0]
    assert find("epochs_run<1") == find("validation_loss>1") == []


@over_sqlite
@pytest.mark.parametrize("text", ["test_accuracy", "accuracy>=1", "test_loss<nan", "test_loss<1e999", "=1"])
def test_what_is_no_range_is_refused(client: TestClient, text: str) -> None:
    assert client.get("/v1/jobs", params={"metric": text}).json()["errors"][0]["pointer"] == "?metric"
