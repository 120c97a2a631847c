"""Health, catalogue and the doorbell, against real parts."""

import httpx
from redis import Redis
from sqlalchemy import text

from models.database import Database
from models.doorbell import QUEUE
from tests.factories import job_spec


def test_readiness_says_what_is_missing(client_without_broker: httpx.Client) -> None:
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


def test_the_bell_rings_after_the_job_is_stored(client: httpx.Client, broker: Redis) -> None:
    posted = client.post("/v1/jobs", json=job_spec().model_dump(mode="json"))
    assert posted.status_code == 202
    checks = client.get("/readyz").json()["checks"]
    assert checks["broker"] == "ok"
    assert checks["worker"] == "no worker answers; jobs wait until one does"
    assert len(broker.lrange(QUEUE, 0, -1)) == 1


def test_without_a_broker_a_job_is_taken_all_the_same(client_without_broker: httpx.Client) -> None:
    answer = client_without_broker.post("/v1/jobs", json=job_spec().model_dump(mode="json"))
    assert answer.status_code == 202
    assert client_without_broker.get(answer.headers["Location"]).json()["state"] == "queued"


def test_the_catalogue(client: httpx.Client) -> None:
    techniques = client.get("/v1/techniques").json()["items"]
    assert {each["name"] for each in techniques} >= {"dropout", "l1", "l2", "early_stopping"}
    assert client.get("/v1/techniques/l2").json() in techniques
    datasets = {each["name"]: each for each in client.get("/v1/datasets").json()["items"]}
    assert datasets["mnist_5k"]["available"] is True
    assert (datasets["mnist"]["train_rows"], datasets["mnist"]["test_rows"]) == (60_000, 10_000)
    assert len(datasets["mnist"]["sha256"]) == 4
    presets = {each["name"]: each for each in client.get("/v1/presets").json()["items"]}
    assert presets["dropout-vs-none"]["jobs"] == 2
    assert client.get("/").json()["links"]["jobs"] == "/v1/jobs"
