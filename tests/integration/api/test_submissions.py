"""Jobs that are submitted concurrently; each gets its own response."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.settings import Settings
from models.store.database import Database
from models.store.job_search import JobFilter, find_jobs
from models.store.jobs import NewJob, create_jobs
from models.store.quotas import Quotas, acquire_advisory_lock
from tests.applications import application
from tests.factories import job_spec
from tests.integration.api.conftest import TestClient

JOB = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1}}


def test_parallel_submissions_fill_a_quota_and_never_exceed_it(
    settings_with_broker: Settings, database: Database
) -> None:
    limited = settings_with_broker.model_copy(update={"max_queued_jobs": 4})
    with TestClient(application(limited)) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda seed: client.post("/v1/jobs", json=JOB | {"seed": seed}), range(6)))
    assert sorted(answer.status_code for answer in answers) == [202] * 4 + [429] * 2
    accepted = [answer.json() for answer in answers if answer.status_code == 202]
    with database.read() as session:
        stored = find_jobs(session, JobFilter(), after=None, limit=9)
    assert {job.id: job.seed for job in stored} == {job["id"]: job["spec"]["seed"] for job in accepted}


# SQLite has one writer, and no lock for an owner.
@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_a_submission_does_not_wait_for_the_quota_of_another_owner(database_settings: Settings) -> None:
    limited = Database(database_settings, quotas=Quotas(queued_jobs=9, flops_per_day=0.0))

    def submit(owner: str) -> None:
        with limited.write() as session:
            create_jobs(session, [NewJob(job_spec(), owner)])

    with ThreadPoolExecutor(1) as pool:
        with limited.write() as session:
            acquire_advisory_lock(session, "quota ann")
            blocked = pool.submit(submit, "ann")
            submit("bob")
            assert not blocked.done()
        blocked.result(timeout=10)
    with limited.read() as session:
        jobs = find_jobs(session, JobFilter(), after=None, limit=9)
    assert sorted(job.owner for job in jobs) == ["ann", "bob"]
    limited.close()
