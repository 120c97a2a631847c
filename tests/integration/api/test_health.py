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
from tests.chaos.faults import REDIS_FAULTS, read_only_postgresql
from tests.chaos.services import api
from tests.factories import job_spec
from tests.integration.api.conftest import TestClient
from tests.unit.regbench.conftest import Service, certificate, tls_service

__all__ = ["certificate", "tls_service"]


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


def forget_readiness(client: httpx.Client) -> None:
    """Have the next request check anew, though the last check is less than a second old."""
    assert isinstance(client, TestClient)
    client.app.state.readiness_check._expires_at = 0.0  # type: ignore[attr-defined]


def refused(client: httpx.Client) -> str:
    """What /readyz says of the database, where a job is refused, too."""
    assert client.post("/v1/jobs", json=job_spec().model_dump(mode="json")).status_code == 503
    forget_readiness(client)
    began = time.monotonic()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert time.monotonic() - began < 4.0
    reason: str = response.json()["checks"]["database"]
    return reason


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_d10_a_read_only_database_is_not_ready(database_settings: Settings, database: Database) -> None:
    with (
        read_only_postgresql(database_settings.database_url),
        TestClient(application(database_settings)) as client,
    ):
        assert refused(client) == "the database stores no jobs: it is read-only"


def test_a_database_that_cannot_be_reached_is_not_ready(settings: Settings) -> None:
    nowhere = "postgresql://ann@127.0.0.1:1/none"
    with TestClient(application(settings.model_copy(update={"database_url": nowhere}))) as client:
        posted = client.post("/v1/jobs", json=job_spec().model_dump(mode="json"))
        assert (posted.status_code, "Retry-After" in posted.headers) == (503, True)
        checks = client.get("/readyz").json()["checks"]
    assert checks["database"] == "the database cannot be reached"
    assert checks["migrations"] == "unknown without the database"


def test_d9_a_broker_whose_certificate_is_not_trusted_is_named(
    settings: Settings, tls_service: Service
) -> None:
    url = tls_service.url.replace("https://", "rediss://")
    with TestClient(application(settings.model_copy(update={"broker_url": f"{url}/0"}))) as client:
        broker: str = client.get("/readyz").json()["checks"]["broker"]
    assert broker.startswith("the broker presents a certificate that is not trusted: ")


def test_d10_a_database_that_somebody_has_locked_is_not_ready(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("engine", "database"):
        monkeypatch.setattr(f"models.store.{module}.SQLITE_BUSY_MILLISECONDS", 50)
    assert client.get("/readyz").json()["checks"]["database"] == "ok"
    with database.write() as session:
        is_postgresql = database.engine.dialect.name == "postgresql"
        session.execute(text("LOCK TABLE jobs IN SHARE MODE" if is_postgresql else "SELECT 1"))
        assert "lock" in refused(client)
    forget_readiness(client)
    assert client.get("/readyz").json()["checks"]["database"] == "ok"


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_d10_a_deleted_database_file_is_not_ready_until_it_is_back(
    client: httpx.Client, database_settings: Settings
) -> None:
    assert client.get("/readyz").json()["checks"]["database"] == "ok"
    file = database_settings.home / "regbench.db"
    content = file.read_bytes()
    file.unlink()
    assert refused(client).startswith("the database stores no jobs: ")
    file.write_bytes(content)
    assert client.post("/v1/jobs", json=job_spec().model_dump(mode="json")).status_code == 202
    forget_readiness(client)
    assert client.get("/readyz").json()["checks"]["database"] == "ok"


def test_a_database_behind_the_code_is_not_ready(client: httpx.Client, database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert "python -m migrations" in client.get("/readyz").json()["checks"]["migrations"]
    with database.write() as session:
        session.execute(text("DROP TABLE alembic_version"))
    forget_readiness(client)
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


@pytest.mark.parametrize(("fault", "message"), [("READONLY", "read only"), ("OOM", "maxmemory")])
@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_a_broker_that_refuses_writes_is_not_ready(
    database_settings: Settings, database: Database, fault: str, message: str
) -> None:
    with servers.redis() as socket, Redis(unix_socket_path=str(socket)) as redis:
        settings = database_settings.model_copy(update={"broker_url": f"redis+socket://{socket}"})
        with (
            REDIS_FAULTS[fault](redis, socket.parent),
            TestClient(application(settings)) as client,
        ):
            response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["broker"].startswith("the broker refuses commands: ")
    assert message in response.json()["checks"]["broker"]
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
