"""Datasets of one's own over HTTP: uploaded, listed, trained on by digest, deleted."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from models.artifacts import ArtifactStore, get_dataset_file
from models.dataset_cards import DATASETS
from models.dataset_spec import DatasetSpec
from models.settings import Settings
from models.store.database import Database
from models.store.datasets import find_class_names
from models.store.tables import LOCAL_OWNER
from tests.applications import application
from tests.integration.api.conftest import over_sqlite
from tests.unit.api.datasets.forms import FORMS, Files, as_keras, as_kmnist, draw

DATA = draw(train=400, test=40)


def upload(
    client: TestClient,
    files: Files | None = None,
    *,
    name: str = "mine",
    options: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> httpx.Response:
    return client.post(
        "/v1/datasets",
        params={"dry_run": dry_run},
        data={"name": name} | ({"options": json.dumps(options)} if options is not None else {}),
        files=[("files", (file, content)) for file, content in (files or as_keras(DATA)).items()],
    )


def submit(client: TestClient, **dataset: Any) -> httpx.Response:
    return client.post("/v1/jobs", json={"dataset": {"name": "mine"} | dataset, "training": {"epochs": 1}})


def test_an_upload_is_stored_listed_and_shown(client_without_broker: TestClient) -> None:
    client = client_without_broker
    response = upload(client)
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == "/v1/datasets/mine"
    body = response.json()
    assert (body["name"], body["classes"], body["train_examples"], body["test_examples"]) == (
        "mine",
        3,
        400,
        40,
    )
    assert [count["name"] for count in body["counts"]] == ["0", "1", "2"]
    assert {decision["name"] for decision in body["decisions"]} >= {"scale", "invert", "labels"}
    listed = {item["name"]: item for item in client.get("/v1/datasets").json()["items"]}
    assert list(listed) == ["mnist", "fashion_mnist", "mnist_5k", "mine"]
    assert listed["mine"] == client.get("/v1/datasets/mine").json() == body
    again = upload(client)
    assert (again.status_code, again.json()) == (201, body)
    other_name = upload(client, as_kmnist(DATA), name="other")
    assert (other_name.status_code, other_name.json()["digest"]) == (201, body["digest"])


@over_sqlite
def test_classes_are_called_by_their_names(client_without_broker: TestClient, database: Database) -> None:
    content = upload(client_without_broker, options={"class_names": ["cat", "dog", "eel"]}).json()
    assert [count["name"] for count in content["counts"]] == ["cat", "dog", "eel"]
    spec = submit(client_without_broker).json()["spec"]["dataset"]
    with database.read() as session:
        for dataset, names in (
            (DatasetSpec.model_validate(spec), ["cat", "dog", "eel"]),
            (DatasetSpec(name="mnist"), None),
            (DatasetSpec(name="fashion_mnist"), list(DATASETS["fashion_mnist"].class_names)),
        ):
            assert find_class_names(session, LOCAL_OWNER, dataset) == names


@over_sqlite
def test_a_dry_run_shows_64_images_and_stores_nothing(
    client_without_broker: TestClient, database_settings: Settings
) -> None:
    response = upload(client_without_broker, dry_run=True)
    assert response.status_code == 200
    body = response.json()
    assert len(body["images"]) == 64
    assert client_without_broker.get("/v1/datasets/mine").status_code == 404
    assert not ArtifactStore(database_settings).has(get_dataset_file(body["digest"]))


def test_jobs_and_experiments_hold_the_digest_not_the_name(client_without_broker: TestClient) -> None:
    client = client_without_broker
    digest = upload(client).json()["digest"]
    job = submit(client)
    assert job.status_code == 202, job.text
    content = job.json()["spec"]["dataset"]["content"]
    assert content == {"digest": digest, "classes": 3, "train_examples": 400, "test_examples": 40}
    builtin = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1}}
    assert job.json()["spec_hash"] != client.post("/v1/jobs", json=builtin).json()["spec_hash"]
    # What a job shows can be submitted as it is.
    spec = job.json()["spec"]
    assert client.post("/v1/jobs", json=spec).json()["spec_hash"] == job.json()["spec_hash"]
    batch = client.post("/v1/jobs:batch", json={"jobs": [{"dataset": {"name": "mine"}}]})
    assert batch.json()["items"][0]["spec"]["dataset"]["content"] == content
    experiment = client.post(
        "/v1/experiments",
        json={
            "name": "own",
            "base": {"dataset": {"name": "mine"}, "training": {"epochs": 1}},
            "variants": [{"name": "own"}, {"name": "built in", "changes": {"dataset": {"name": "mnist_5k"}}}],
            "allow_confounders": True,
        },
    )
    assert experiment.status_code == 202, experiment.text
    jobs = client.get("/v1/jobs", params={"experiment": experiment.json()["id"]}).json()["items"]
    contents = {job["variant"]: job["spec"]["dataset"].get("content") for job in jobs}
    assert contents == {"own": content, "built in": None}
    extended = client.post(f"{experiment.json()['links']['self']}/extend", json={"replicates": 2})
    assert extended.status_code == 202, extended.text


def test_deleted_and_uploaded_again_a_name_stands_for_its_new_content(
    client_without_broker: TestClient, database_settings: Settings
) -> None:
    client, store = client_without_broker, ArtifactStore(database_settings)
    first = upload(client).json()
    job = submit(client).json()
    busy = client.delete("/v1/datasets/mine")
    assert (busy.status_code, busy.json()["type"].rpartition("/")[2]) == (409, "conflict")
    assert job["id"] in busy.json()["detail"]
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    assert store.has(get_dataset_file(first["digest"]))
    assert client.delete("/v1/datasets/mine").status_code == 204
    assert not store.has(get_dataset_file(first["digest"]))
    gone = submit(client)
    assert (gone.status_code, gone.json()["errors"][0]["pointer"]) == (422, "/dataset/name")
    assert gone.json()["type"].rpartition("/")[2] == "dataset_unavailable"
    second = upload(client, as_keras(draw(train=400, test=40, seed=1))).json()
    assert second["digest"] != first["digest"]
    assert submit(client).json()["spec_hash"] != job["spec_hash"]
    stale = client.post("/v1/jobs", json=job["spec"])
    assert (stale.status_code, stale.json()["errors"][0]["pointer"]) == (422, "/dataset/content")


def test_a_file_goes_with_the_last_name_that_stands_for_it(
    client_without_broker: TestClient, database_settings: Settings
) -> None:
    client, store = client_without_broker, ArtifactStore(database_settings)
    file = get_dataset_file(upload(client, name="one").json()["digest"])
    upload(client, name="two")
    client.delete("/v1/datasets/one")
    assert store.has(file)
    client.delete("/v1/datasets/two")
    assert not store.has(file)


@over_sqlite
@pytest.mark.parametrize(
    ("changes", "status", "pointer", "detail"),
    [
        ({"name": "mnist"}, 422, "/name", "built-in"),
        ({"name": "no/such"}, 422, "/name", "letters"),
        ({"name": ""}, 422, "/name", "letters"),
        ({"options": {"scales": 1}}, 422, "/options/scales", "no such field"),
        ({"options": {"scale": -1}}, 422, "/options/scale", "greater than 0"),
        ({"files": {"train.csv": b"1,2\n"}}, 422, "/files", "row 1"),
        ({"files": {"train.csv": b""}}, 422, "/files", "train.csv: is empty"),
    ],
)
def test_what_is_wrong_with_an_upload_is_said_at_its_field(
    changes: Mapping[str, Any], status: int, pointer: str, detail: str, client_without_broker: TestClient
) -> None:
    response = upload(client_without_broker, **changes)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    faults = {fault["pointer"]: fault["detail"] for fault in response.json()["errors"]}
    assert detail in next(text for name, text in faults.items() if name.startswith(pointer))


@over_sqlite
def test_the_same_name_for_another_content_is_a_conflict(client_without_broker: TestClient) -> None:
    upload(client_without_broker)
    other = upload(client_without_broker, as_keras(draw(seed=1)))
    assert other.status_code == 409
    assert "delete it first" in other.json()["detail"]


@over_sqlite
def test_forms_that_are_none(client_without_broker: TestClient) -> None:
    client = client_without_broker
    assert client.post("/v1/datasets", json={}).status_code == 415
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    start = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nmine\r\n'
    for body in (b"", b"nonsense", start, start + b"--x--\r\n"):
        response = client.post("/v1/datasets", content=body, headers=multipart)
        assert response.status_code == 422, body
    other = client.post("/v1/datasets", data={"colour": "red"}, files=[("files", ("a", b"1"))])
    assert other.json()["errors"][0]["pointer"] == "/colour"


@over_sqlite
@pytest.mark.parametrize(
    "database_overrides", [{"max_dataset_bytes": 2_000}, {"max_datasets": 1}, {"max_datasets_mb": 1}]
)
def test_limits(database_settings: Settings, database: Database, database_overrides: dict[str, int]) -> None:
    settings = database_settings.model_copy(update=database_overrides)
    with TestClient(application(settings)) as client:
        responses = [upload(client, name=name) for name in ("a", "b", "c", "d")]
    last = responses[-1]
    if "max_dataset_bytes" in database_overrides:
        assert (last.status_code, last.json()["type"].rpartition("/")[2]) == (413, "body_too_large")
    else:
        assert [responses[0].status_code, last.status_code] == [201, 422]
        assert "delete" in last.json()["errors"][0]["detail"]


@over_sqlite
def test_built_in_datasets_cannot_be_deleted(client_without_broker: TestClient) -> None:
    assert client_without_broker.delete("/v1/datasets/mnist").status_code == 409
    assert client_without_broker.delete("/v1/datasets/none").status_code == 404
    assert client_without_broker.get("/v1/datasets/mnist").json()["built_in"] is True


@over_sqlite
@pytest.mark.parametrize("form", ["idx.gz with dots", "csv with a header", "folders, dark ink"])
def test_every_form_can_be_uploaded(form: str, client_without_broker: TestClient) -> None:
    assert (
        upload(client_without_broker, FORMS[form](DATA)).json()["digest"]
        == upload(client_without_broker, name="keras").json()["digest"]
    )


@over_sqlite
def test_a_clone_may_name_another_dataset(client_without_broker: TestClient) -> None:
    client = client_without_broker
    upload(client)
    job = submit(client).json()["id"]
    same = client.post("/v1/jobs", json={"from": job, "seed": 1})
    assert (same.status_code, same.json()["spec"]["dataset"]["content"]["classes"]) == (202, 3)
    other = client.post("/v1/jobs", json={"from": job, "dataset": {"name": "mnist_5k"}})
    assert (other.status_code, "content" in other.json()["spec"]["dataset"]) == (202, False)


@over_sqlite
def test_nobody_trains_on_a_digest_that_is_not_theirs(client_without_broker: TestClient) -> None:
    content = {"digest": "f" * 64, "classes": 3, "train_examples": 400, "test_examples": 40}
    stolen = submit(client_without_broker, content=content)
    assert (stolen.status_code, stolen.json()["errors"][0]["pointer"]) == (422, "/dataset/name")
    upload(client_without_broker)
    stolen = submit(client_without_broker, content=content)
    assert (stolen.status_code, stolen.json()["errors"][0]["pointer"]) == (422, "/dataset/content")
