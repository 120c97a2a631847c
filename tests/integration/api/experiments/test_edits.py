"""What people call, sort and queue experiments by can be changed."""

from models.store.database import Database
from tests.factories import finish_job
from tests.integration.api.conftest import TestClient
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of


def test_name_labels_and_notes_are_changed(client: TestClient) -> None:
    experiment = create(client, DOCUMENT)
    here = experiment["links"]["self"]
    patch = {"name": "renamed", "labels": {"course": "ml1", "week": "2"}, "notes": "for the lecture"}
    body = client.patch(here, json=patch).json()
    assert body == experiment | patch | {"spec": experiment["spec"] | {"name": "renamed"}}
    removed = client.patch(
        here, content=b'{"labels": {"week": null}}', headers={"Content-Type": "application/merge-patch+json"}
    )
    assert removed.json()["labels"] == {"course": "ml1"}
    assert client.get(here).json() == removed.json()
    assert client.patch(here, json={"name": None}).json()["errors"][0]["pointer"] == "/name"
    assert client.patch("/v1/experiments/exp_none", json={}).status_code == 404


def test_a_priority_applies_to_jobs_that_have_not_ended_and_to_later_ones(
    client: TestClient, database: Database
) -> None:
    experiment = create(client, DOCUMENT)
    here, first = experiment["links"]["self"], jobs_of(client, experiment)[0]
    finish_job(database, first["id"])
    client.patch(here, json={"priority": 5})
    client.post(f"{here}/extend", json={"seeds": [8]})
    assert [job["priority"] for job in jobs_of(client, experiment)] == [0, 5, 5, 5, 5, 5]


def test_an_experiment_is_archived_with_its_own_jobs(client: TestClient, database: Database) -> None:
    one = create(client, DOCUMENT)
    for job in jobs_of(client, one):
        finish_job(database, job["id"])
    other = create(client, DOCUMENT)
    client.patch(other["links"]["self"], json={"archived": True})
    # Its jobs are the first one's.
    assert len(client.get("/v1/jobs").json()["items"]) == 4
    client.patch(one["links"]["self"], json={"archived": True})
    assert client.get("/v1/jobs").json()["items"] == []
    assert len(jobs_of(client, one)) == len(jobs_of(client, other)) == 4
    assert client.get(other["links"]["report"]).json()["complete"]
