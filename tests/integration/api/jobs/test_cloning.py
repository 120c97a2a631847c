"""Stored jobs and experiments are submitted again with changes."""

from typing import Any

import pytest

from models.store.database import Database
from tests.factories import finish_job, finished_job, job_spec, result_record
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.experiments.test_routes import DOCUMENT, create

SPEC = {
    "name": "first",
    "dataset": {"name": "mnist_5k"},
    "regularization": {"dropout": {"rate": 0.3}},
    "labels": {"a": "1"},
}


@over_sqlite
def test_a_job_is_cloned_with_a_merge_patch(client: TestClient) -> None:
    source = client.post("/v1/jobs", json=SPEC).json()
    changes = {"regularization": {"dropout": None, "l2": {}}, "training": {"epochs": 3}, "seed": 4}
    clone = client.post("/v1/jobs", json={"from": source["id"], **changes})
    assert clone.status_code == 202
    spec = clone.json()["spec"]
    assert spec["regularization"] == {"l2": {"factor": 0.0001}}
    assert (spec["name"], spec["labels"], spec["seed"], spec["training"]["epochs"]) == (
        "first",
        {"a": "1"},
        4,
        3,
    )
    same = client.post(
        "/v1/jobs", content=b'{"\\u0066rom": "%s"}' % source["id"].encode(), headers=JSON
    ).json()
    assert same["spec_hash"] == source["spec_hash"]
    dry = client.post("/v1/jobs?dry_run=true", json={"from": source["id"]})
    assert dry.json()["training_flops"] > 0


JSON = {"Content-Type": "application/json"}


@over_sqlite
@pytest.mark.parametrize(
    ("path", "document", "pointer"),
    [
        ("/v1/jobs", {"from": "job_none"}, "/from"),
        ("/v1/jobs", {"from": "exp_\0"}, "/from"),
        ("/v1/jobs", {"from": 3}, "/from"),
        ("/v1/jobs", {"from": "{job}", "epochs": 3}, "/epochs"),
        ("/v1/experiments", {"from": "exp_none"}, "/from"),
        ("/v1/experiments", {"from": "exp_none", "preset": "l1-vs-l2"}, "/from"),
        ("/v1/experiments", {"from": "{job}", "name": "n"}, "/variants"),
    ],
)
def test_what_cannot_be_cloned_is_refused_at_its_field(
    client: TestClient, path: str, document: dict[str, Any], pointer: str
) -> None:
    job = client.post("/v1/jobs", json=SPEC).json()["id"]
    if document["from"] == "{job}":
        document = document | {"from": job}
    refused = client.post(path, json=document)
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


@over_sqlite
def test_an_experiment_is_cloned_from_an_experiment_or_a_job(client: TestClient) -> None:
    experiment = create(client, DOCUMENT)
    clone = create(client, {"from": experiment["id"], "name": "again", "replicates": 3})
    assert clone["spec"] == experiment["spec"] | {"name": "again", "seeds": [0, 1, 2]}
    job = client.post("/v1/jobs", json=SPEC).json()
    variants = [{"name": "with"}, {"name": "without", "changes": {"regularization": {"dropout": None}}}]
    made = create(client, {"from": job["id"], "name": "of a job", "variants": variants, "reuse": False})
    assert made["spec"]["base"] == job["spec"] | {"name": None, "seed": 0}


def test_a_result_that_time_cut_short_is_not_reused_and_reported(
    client: TestClient, database: Database
) -> None:
    spec = job_spec(training={"max_seconds": 5}).model_dump(mode="json")
    base = {field: value for field, value in spec.items() if field not in ("name", "seed")}
    document = DOCUMENT | {"base": base, "seeds": [0]}
    for stop_reason, reused in (("max_seconds", 0), ("completed", 2)):
        experiment = create(client, document)
        assert experiment["progress"]["reused"] == 0
        for job in client.get(experiment["links"]["jobs"]).json()["items"]:
            finish_job(database, job["id"], result=result_record(stop_reason=stop_reason))
        assert create(client, document)["progress"]["reused"] == reused
        notes = client.get(experiment["links"]["report"]).json()["notes"]
        assert any("max_seconds" in note and "2 runs" in note for note in notes) == (not reused)


def test_the_hash_has_a_time_limit_only_where_there_is_one(database: Database) -> None:
    unlimited, limited = job_spec(), job_spec(training={"max_seconds": 5})
    assert unlimited.spec_hash != limited.spec_hash
    assert finished_job(database, limited).spec["training"]["max_seconds"] == 5
