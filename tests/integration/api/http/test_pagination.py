"""Lists over HTTP: sorting, choosing fields, links, and cursors that belong to their order."""

from typing import Any

import httpx
import pytest

from models.metrics import METRICS
from models.states import JobState
from models.store.database import Database
from tests.factories import finished_job, job_in, job_spec, result_record
from tests.integration.api.conftest import over_sqlite


@pytest.fixture
def two(database: Database) -> tuple[str, str]:
    """Two finished jobs; the second one is the better."""
    spec = job_spec(regularization={"dropout": {"rate": 0.3}}, labels={"team": "a"})
    first = finished_job(database, spec, result=result_record(test_accuracy=0.8))
    return first.id, finished_job(database, spec, result=result_record(test_accuracy=0.9)).id


def items(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["items"]
    return listed


def fault(answer: httpx.Response) -> tuple[str, str]:
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    return error["pointer"], error["detail"]


def test_jobs_by_a_metric(client: httpx.Client, database: Database, two: tuple[str, str]) -> None:
    job_in(database, JobState.QUEUED)
    best_first = items(client.get("/v1/jobs?sort=-test_accuracy"))
    assert [job["id"] for job in best_first] == [two[1], two[0]]
    assert best_first == items(client.get("/v1/jobs?sort=test_accuracy"))[::-1]
    first = client.get("/v1/jobs?sort=-test_accuracy&limit=1")
    assert [job["id"] for job in items(client.get(first.links["next"]["url"]))] == [two[0]]
    assert len(items(client.get("/v1/jobs?sort=created_at"))) == 3


@pytest.mark.parametrize("fields", ["", "&fields=id"])
def test_every_metric_can_be_sorted_by_from_page_to_page(
    client: httpx.Client, two: tuple[str, str], fields: str
) -> None:
    for metric in METRICS:
        first = client.get(f"/v1/jobs?sort={metric}&limit=1{fields}")
        second = client.get(first.links["next"]["url"])
        assert {job["id"] for job in items(first) + items(second)} == set(two), metric
        assert "next" not in second.links


def test_a_cursor_belongs_to_its_order(client: httpx.Client, two: tuple[str, str]) -> None:
    cursor = client.get("/v1/jobs?sort=-test_accuracy&limit=1").json()["next_cursor"]
    parameter, detail = fault(client.get("/v1/jobs", params={"cursor": cursor}))
    assert parameter == "?cursor"
    assert "sort=-test_accuracy" in detail
    assert fault(client.get("/v1/experiments", params={"cursor": cursor}))[0] == "?cursor"


def test_an_unknown_sort_order_lists_the_choices(client: httpx.Client) -> None:
    parameter, detail = fault(client.get("/v1/jobs?sort=speed"))
    assert parameter == "?sort"
    assert "-test_accuracy" in detail


def test_only_the_requested_fields_are_returned(client: httpx.Client, two: tuple[str, str]) -> None:
    names = "id,state,stop_reason,result.test_accuracy,spec.training.epochs,labels.team,labels.none"
    newest, _ = items(client.get("/v1/jobs", params={"fields": names}))
    assert newest == {
        "id": two[1],
        "state": "succeeded",
        "spec": {"training": {"epochs": 1}},
        "labels": {"team": "a"},
        "stop_reason": "completed",
        "result": {"test_accuracy": 0.9},
    }
    everything = items(client.get("/v1/jobs"))[0]
    for name in everything:
        assert items(client.get(f"/v1/jobs?fields={name}"))[0] == {name: everything[name]}, name
    # All of a field goes before a part of it, in whichever order they are named.
    for names in ("result,result.test_loss", "result.test_loss,result"):
        assert items(client.get(f"/v1/jobs?fields={names}"))[0] == {"result": everything["result"]}


@over_sqlite
@pytest.mark.parametrize(
    ("names", "choice"),
    [
        ("id,speed", "queue_position"),
        ("result.accuracy", "test_accuracy"),
        ("spec.trainign.epochs", "training"),
        ("id.x", "no fields"),
        ("", "state"),
        ("result.", "test_accuracy"),
        ("progress.epoch.x", "no fields"),
    ],
)
def test_an_unknown_field_lists_the_choices(client: httpx.Client, names: str, choice: str) -> None:
    parameter, detail = fault(client.get("/v1/jobs", params={"fields": names}))
    assert parameter == "?fields"
    assert choice in detail


def test_experiments_have_fields_and_links_too(client: httpx.Client) -> None:
    document = {
        "name": "x",
        "base": job_spec().model_dump(mode="json"),
        "variants": [{"name": "a"}, {"name": "b", "changes": {"regularization": {"l2": {}}}}],
        "seeds": [0],
    }
    for _ in range(2):
        assert client.post("/v1/experiments", json=document).status_code == 202
    names = "name,progress.counts.queued,spec.variants.name"
    first = client.get("/v1/experiments", params={"fields": names, "limit": 1})
    assert items(first) == [
        {
            "name": "x",
            "spec": {"variants": [{"name": "a"}, {"name": "b"}]},
            "progress": {"counts": {"queued": 2}},
        }
    ]
    second = client.get(first.links["next"]["url"])
    assert items(second) == items(first)
    assert client.get(second.links["first"]["url"]).json() == first.json()
    assert fault(client.get("/v1/experiments?fields=speed"))[0] == "?fields"
