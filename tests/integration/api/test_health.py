"""Health, catalogue and dispatch, against real parts."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from redis import Redis
from sqlalchemy import text

from models.dispatch import QUEUE
from models.settings import Settings
from models.store.database import Database
from tests import servers
from tests.applications import application
from tests.chaos.services import api
from tests.factories import job_spec
from tests.integration.api.conftest import TestClient


def test_readiness_reports_what_is_missing(client_without_broker: httpx.Client) -> None:
    answer = client_without_broker.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "checks": {
            "database": "ok",
            "migrations": "ok",
            "broker": "the broker cannot be reached",
            "worker": "unknown without the broker",
        },
    }
    assert client_without_broker.get("/healthz").json() == {"status": "ok"}


def test_a_database_behind_the_code_is_not_ready(client: httpx.Client, database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    assert "python -m migrations" in client.get("/readyz").json()["checks"]["migrations"]
    with database.write() as session:
        session.execute(text("DROP TABLE alembic_version"))
    assert "no revision" in client.get("/readyz").json()["checks"]["migrations"]


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_many_concurrent_readiness_checks_do_not_stall_the_api(
    settings_with_broker: Settings, tmp_path: Path
) -> None:
    settings = settings_with_broker.model_copy(update={"allowed_hosts": "localhost"})
    with api(settings, tmp_path / "api.log") as (_, client):

        def get_readiness(_: int) -> httpx.Response | None:
            try:
                return client.get("/readyz", timeout=5.0)
            except httpx.TimeoutException:
                return None

        for _ in range(3):
            with ThreadPoolExecutor(40) as threads:
                responses = list(threads.map(get_readiness, range(40)))
            began = time.monotonic()
            assert client.get("/healthz", timeout=1.0).status_code == 200
            assert time.monotonic() - began < 1.0
            assert {response.status_code if response else None for response in responses} == {503}
            checks = [response.json()["checks"] for response in responses if response]
            assert {check["broker"] for check in checks} == {"ok"}
        assert "ImportError" not in (tmp_path / "api.log").read_text()


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_a_broker_that_refuses_writes_is_not_ready(database_settings: Settings, database: Database) -> None:
    with servers.redis() as socket, Redis(unix_socket_path=str(socket)) as redis:
        redis.replicaof("127.0.0.1", 1)
        settings = database_settings.model_copy(update={"broker_url": f"redis+socket://{socket}"})
        with TestClient(application(settings)) as client:
            response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["broker"].startswith("the broker refuses commands: ")
    assert "read only" in response.json()["checks"]["broker"]
    assert response.json()["checks"]["worker"] == "unknown without the broker"


def test_the_dispatch_message_is_sent_after_the_job_is_stored(client: httpx.Client, broker: Redis) -> None:
    posted = client.post("/v1/jobs", json=job_spec().model_dump(mode="json"))
    assert posted.status_code == 202
    checks = client.get("/readyz").json()["checks"]
    assert checks["broker"] == "ok"
    assert checks["worker"] == "no worker responds; jobs stay queued until one does"
    assert len(broker.lrange(QUEUE, 0, -1)) == 1


def test_without_a_broker_a_job_is_still_accepted(client_without_broker: httpx.Client) -> None:
    answer = client_without_broker.post("/v1/jobs", json=job_spec().model_dump(mode="json"))
    assert answer.status_code == 202
    assert client_without_broker.get(answer.headers["Location"]).json()["state"] == "queued"


def test_the_catalogue(client: httpx.Client) -> None:
    techniques = client.get("/v1/techniques").json()["items"]
    assert {item["name"] for item in techniques} >= {"dropout", "l1", "l2", "early_stopping"}
    assert client.get("/v1/techniques/l2").json() in techniques
    datasets = {item["name"]: item for item in client.get("/v1/datasets").json()["items"]}
    assert datasets["mnist_5k"]["available"] is True
    assert (datasets["mnist"]["train_examples"], datasets["mnist"]["test_examples"]) == (60_000, 10_000)
    assert len(datasets["mnist"]["sha256"]) == 4
    presets = {item["name"]: item for item in client.get("/v1/presets").json()["items"]}
    assert presets["dropout-vs-none"]["jobs"] == 2
    assert client.get("/").json()["links"]["jobs"] == "/v1/jobs"
