"""How many models were judged on a test set so far, on each database."""

import httpx

from models.dataset_cards import DatasetContent
from models.dataset_spec import DatasetSpec
from models.states import JobState
from models.store.database import Database
from models.store.jobs import get_job
from models.store.report_data import DatasetUse, load_dataset_uses
from tests.factories import finish_job, finished_job, job_in, job_spec
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of


def test_models_judged_on_a_test_set_are_counted_up_to_now(client: httpx.Client, database: Database) -> None:
    experiment = create(client, DOCUMENT)
    jobs = jobs_of(client, experiment)
    finish_job(database, jobs[0]["id"])
    finished_job(database, job_spec(dataset={"name": "mnist"}))
    report = client.get(experiment["links"]["report"])
    assert [(item["name"], item["judged_models"]) for item in report.json()["datasets"]] == [("mnist_5k", 1)]
    assert "Judged on the test images of mnist_5k so far: 1 model." in report.text
    # A model elsewhere, on the same images: the report that was stored is no longer current.
    finished_job(database, job_spec(seed=99))
    current = client.get(experiment["links"]["report"], headers={"If-None-Match": report.headers["ETag"]})
    assert current.json()["datasets"][0]["judged_models"] == 2
    alone = client.get("/v1/reports", params={"job": jobs[0]["id"], "format": "md"}).text
    assert "Judged on the test images of mnist_5k so far: 2 models." in alone
    page = client.get(f"/experiments/{experiment['id']}").text
    assert "Judged so far on the test images of mnist_5k: 2 models." in page


def test_models_of_other_owners_are_not_counted(database: Database) -> None:
    for owner in ("ada", "ada", "bob"):
        finished_job(database, job_spec(), owner=owner)
    job_in(database, JobState.FAILED)
    for owner, models in (("ada", 2), ("bob", 1), ("eve", 0), (None, 3)):
        with database.for_owner(owner).read() as session:
            uses = load_dataset_uses(session, owner or "local", [DatasetSpec(name="mnist_5k")])
            assert uses == {"mnist_5k": DatasetUse(models, class_names=None)}


def test_uploaded_test_images_are_told_by_their_digest_whatever_their_name(database: Database) -> None:
    contents = {
        digest: DatasetContent(digest=digest * 64, classes=3, train_examples=200, test_examples=40)
        for digest in "ab"
    }
    specs = [DatasetSpec(name=name, content=contents[digest]) for name, digest in ("xa", "ya", "xb")]
    for spec in specs:
        job = finished_job(database, job_spec(dataset=spec.model_dump()))
        with database.write() as session:
            get_job(session, job.id).result.dataset_sha256 = spec.content.digest
    with database.read() as session:
        for spec, models in zip(specs, (2, 2, 1), strict=True):
            assert load_dataset_uses(session, "local", [spec])[spec.name].judged_models == models
