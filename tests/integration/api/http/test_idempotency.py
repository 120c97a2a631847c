"""A request that is repeated with its key gets the first response, even after failures in between."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select, update

from models.settings import Settings
from models.states import JobState
from models.store import idempotency
from models.store.database import Database
from models.store.jobs import NewJob, create_jobs
from models.store.service_tables import IdempotencyKey
from models.store.tables import Job
from models.store.transitions import get_database_now
from tests.factories import job_in, job_spec
from tests.integration.api.conftest import over_sqlite

SPEC = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1}}
EXPERIMENT = {"name": "e", "base": SPEC, "variants": [{"name": "a"}], "seeds": [0, 1]}
KEY = {"Idempotency-Key": "c7f0-first"}


def jobs(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def age(database: Database, by: timedelta) -> None:
    """Make every key older."""
    with database.write() as session:
        session.execute(
            update(IdempotencyKey)
            .values(created_at=get_database_now(session) - by, locked_until=get_database_now(session) - by)
            .execution_options(synchronize_session=False)
        )


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/jobs", SPEC), ("/v1/jobs:batch", {"jobs": [SPEC, SPEC]}), ("/v1/experiments", EXPERIMENT)],
)
def test_a_repeated_request_gets_the_same_response_byte_for_byte(
    client: httpx.Client, database: Database, path: str, body: object
) -> None:
    first = client.post(path, json=body, headers=KEY)
    assert first.status_code == 202, first.text
    assert "Idempotent-Replayed" not in first.headers
    job_count = jobs(database)
    again = client.post(path, json=body, headers=KEY)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers.get("Location") == first.headers.get("Location")
    assert jobs(database) == job_count


def test_a_retry_and_an_extension_happen_once(client: httpx.Client, database: Database) -> None:
    failed = job_in(database, JobState.FAILED)
    answers = [client.post(f"/v1/jobs/{failed}/retry", headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content
    experiment = client.post("/v1/experiments", json=EXPERIMENT).json()
    more = {"Idempotency-Key": '"quoted, as the draft has it"'.replace(" ", "").replace(",", "")}
    answers = [
        client.post(experiment["links"]["extend"], json={"seeds": [5]}, headers=more) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content


def test_different_content_under_the_same_key_is_refused(client: httpx.Client, database: Database) -> None:
    client.post("/v1/jobs", json=SPEC, headers=KEY)
    for path, body in (
        ("/v1/jobs", SPEC | {"seed": 1}),
        ("/v1/experiments", EXPERIMENT),
        ("/v1/jobs:batch", {"jobs": [SPEC]}),
    ):
        refused = client.post(path, json=body, headers=KEY)
        assert refused.status_code == 422
        assert refused.json()["type"].endswith("idempotency_key_reused")
    assert jobs(database) == 1


def test_a_refused_request_may_be_corrected_and_sent_again(client: httpx.Client, database: Database) -> None:
    assert client.post("/v1/jobs", json={"seed": -1}, headers=KEY).status_code == 422
    assert client.post("/v1/jobs/job_none/retry", headers=KEY).status_code == 404
    assert client.post("/v1/jobs?dry_run=true", json=SPEC, headers=KEY).status_code == 200
    assert client.post("/v1/jobs", json=SPEC, headers=KEY).status_code == 202
    assert jobs(database) == 1


@over_sqlite
@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "tab\tin it"])
def test_an_invalid_idempotency_key_is_refused(client: httpx.Client, database: Database, key: str) -> None:
    refused = client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": key})
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["errors"][0]["pointer"]
    assert jobs(database) == 0


def test_many_concurrent_requests_create_one_job(client: httpx.Client, database: Database) -> None:
    def submit(_: int) -> httpx.Response:
        return client.post("/v1/jobs", json=SPEC, headers=KEY)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(submit, range(50)))
    created = [answer for answer in answers if answer.status_code == 202]
    under_way = [answer for answer in answers if answer.status_code == 409]
    assert len(created) + len(under_way) == 50
    assert len({answer.content for answer in created}) == 1
    assert all(answer.headers["Retry-After"] == "1" for answer in under_way)
    assert jobs(database) == 1


def test_idempotency_keys_expire_after_a_day(client: httpx.Client, database: Database) -> None:
    client.post("/v1/jobs", json=SPEC, headers=KEY)
    age(database, timedelta(hours=23))
    assert client.post("/v1/jobs", json=SPEC, headers=KEY).headers["Idempotent-Replayed"] == "true"
    age(database, timedelta(hours=25))
    assert "Idempotent-Replayed" not in client.post("/v1/jobs", json=SPEC, headers=KEY).headers
    assert jobs(database) == 2
    age(database, timedelta(hours=25))
    with database.write() as session:
        assert idempotency.delete_old_keys(session) == 1
        assert idempotency.delete_old_keys(session) == 0


DIES = """
import os, sys
from models.store.database import Database
from models.settings import Settings
from models.store import idempotency, jobs
from models.store.jobs import NewJob
from models.spec import JobSpec

database = Database(Settings())
with database.write() as session:
    claim = idempotency.claim_key(session, "local", "k", "content")
session_of = database.write()
session = session_of.__enter__()
jobs.create_jobs(session, [NewJob(JobSpec())])
idempotency.store_response(session, claim, idempotency.StoredResponse(202, {}, b"answer"))
if sys.argv[1] == "after":
    session_of.__exit__(None, None, None)
os._exit(9)
"""


@pytest.mark.parametrize(("when", "stored_jobs"), [("before", 0), ("after", 1)])
def test_a_process_that_dies_stores_both_the_job_and_the_response_or_neither(
    database_settings: Settings, database: Database, when: str, stored_jobs: int
) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, when], env=os.environ, check=False)
    assert died.returncode == 9
    assert jobs(database) == stored_jobs
    if when == "before":
        with pytest.raises(idempotency.RequestInProgress), database.write() as session:
            idempotency.claim_key(session, "local", "k", "content")
        age(database, timedelta(minutes=2))
    with database.write() as session:
        claim = idempotency.claim_key(session, "local", "k", "content")
    assert isinstance(claim, idempotency.StoredResponse if stored_jobs else idempotency.KeyClaim)


def test_a_request_that_lost_its_key_commits_nothing(database: Database) -> None:
    with database.write() as session:
        slow = idempotency.claim_key(session, "local", "k", "content")
    age(database, timedelta(minutes=2))
    with database.write() as session:
        assert isinstance(idempotency.claim_key(session, "local", "k", "content"), idempotency.KeyClaim)
    assert isinstance(slow, idempotency.KeyClaim)
    with pytest.raises(idempotency.RequestInProgress):
        _commit_a_job(database, slow)
    assert jobs(database) == 0


def _commit_a_job(database: Database, claim: idempotency.KeyClaim) -> None:
    with database.write() as session:
        create_jobs(session, [NewJob(job_spec())])
        idempotency.store_response(session, claim, idempotency.StoredResponse(202, {}, b""))


def test_keys_of_different_owners_are_independent(database: Database) -> None:
    with database.write() as session:
        assert isinstance(idempotency.claim_key(session, "a", "k", "one"), idempotency.KeyClaim)
        assert isinstance(idempotency.claim_key(session, "b", "k", "two"), idempotency.KeyClaim)
