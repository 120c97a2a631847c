"""Webhooks over HTTP: created, listed without their secret, deleted; invalid addresses are refused."""

from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text, update

from migrations.__main__ import main as migrate
from models.encryption import decrypt_secret
from models.settings import Settings, get_settings
from models.states import JobState
from models.store import webhooks as store
from models.store.database import Database
from models.store.tables import Delivery, Webhook
from tests.applications import application
from tests.factories import finished_job
from tests.integration.api.conftest import over_sqlite

URL = "https://example.org/hook"


def test_the_secret_is_shown_once(client: httpx.Client) -> None:
    created = client.post("/v1/webhooks", json={"url": URL})
    assert (created.status_code, created.headers["Location"]) == (201, f"/v1/webhooks/{created.json()['id']}")
    assert created.json()["secret"].startswith("whsec_")
    assert created.json()["states"] == ["succeeded", "failed", "cancelled"]
    webhook = client.get(created.headers["Location"]).json()
    assert webhook == {name: value for name, value in created.json().items() if name != "secret"}
    assert client.get("/v1/webhooks").json()["items"] == [webhook]


def test_a_repeated_request_creates_one_webhook(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "one"}
    first, again = (client.post("/v1/webhooks", json={"url": URL}, headers=key) for _ in range(2))
    assert first.content == again.content
    assert len(client.get("/v1/webhooks").json()["items"]) == 1


def test_d13_secrets_are_stored_encrypted_with_the_first_key(
    settings_with_broker: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, unencrypted = "a" * 32, "b" * 32, store.create_secret()
    with database.write() as session:
        store.create_webhook(session, "local", url=URL, states=[JobState.FAILED], secret=unencrypted)
    settings = settings_with_broker.model_copy(update={"encryption_keys": old})
    with TestClient(application(settings)) as client:
        key = {"Idempotency-Key": "one"}
        created, again = (client.post("/v1/webhooks", json={"url": URL}, headers=key) for _ in range(2))
    assert (again.json()["id"], again.json()["secret"]) == (created.json()["id"], None)

    def read() -> list[str]:
        with database.read() as session:
            return [row.secret for row in store.get_all_webhooks(session)]

    secrets = [unencrypted, created.json()["secret"]]
    with database.read() as session:
        content = session.execute(text("SELECT * FROM idempotency_keys")).all()
    assert secrets[1] not in f"{read()} {content}"
    assert [decrypt_secret(stored, old) for stored in read()] == secrets
    for keys in (old, f"{new},{old}", new):
        monkeypatch.setenv("REGBENCH_ENCRYPTION_KEYS", keys)
        get_settings.cache_clear()
        migrate()
        assert [stored.startswith("fernet:") for stored in read()] == [True, True]
        assert [decrypt_secret(stored, keys) for stored in read()] == secrets
    stored = read()
    migrate()
    assert read() == stored
    monkeypatch.setenv("REGBENCH_ENCRYPTION_KEYS", old)
    get_settings.cache_clear()
    with pytest.raises(SystemExit, match="a key that REGBENCH_ENCRYPTION_KEYS does not contain"):
        migrate()


@over_sqlite
@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({}, "/url"),
        ({"url": "http://example.org"}, "/url"),
        ({"url": "ftp://example.org"}, "/url"),
        ({"url": "https://"}, "/url"),
        ({"url": "https://name:word@example.org"}, "/url"),
        ({"url": "https://example.org:99999"}, "/url"),
        ({"url": "https://example.org/ a"}, "/url"),
        ({"url": "https://a..example/"}, "/url"),
        ({"url": f"https://{'x' * 70}/"}, "/url"),
        ({"url": URL, "secret": "whsec_" + "A" * 33}, "/secret"),
        ({"url": URL, "states": []}, "/states"),
        ({"url": URL, "states": ["running"]}, "/states"),
        ({"url": URL, "secret": "short"}, "/secret"),
        ({"url": URL, "typo": 1}, "/typo"),
    ],
)
def test_invalid_webhooks_are_refused(client: httpx.Client, document: dict[str, Any], pointer: str) -> None:
    refused = client.post("/v1/webhooks", json=document)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    assert client.get("/v1/webhooks").json()["items"] == []


def test_deliveries_are_listed_and_deleted_with_the_webhook(client: httpx.Client, database: Database) -> None:
    here = client.post("/v1/webhooks", json={"url": URL}).headers["Location"]
    job = finished_job(database)
    [delivery] = client.get(f"{here}/deliveries").json()["items"]
    assert (delivery["job_id"], delivery["event"], delivery["attempts"]) == (job.id, "job.succeeded", 0)
    assert client.delete(here).status_code == 204
    assert client.get(f"{here}/deliveries").status_code == 404
    assert client.delete(here).status_code == 404


def test_c7_an_owner_has_a_limited_number_of_webhooks(
    settings_with_broker: Settings, database: Database
) -> None:
    with TestClient(application(settings_with_broker.model_copy(update={"max_webhooks": 2}))) as client:
        created = [client.post("/v1/webhooks", json={"url": f"{URL}/{index}"}) for index in range(3)]
        assert [response.status_code for response in created] == [201, 201, 422]
        assert created[2].json()["errors"][0]["pointer"] == "/url"
        assert "2 webhooks" in created[2].json()["errors"][0]["detail"]
        client.delete(created[0].headers["Location"])
        assert client.post("/v1/webhooks", json={"url": URL}).status_code == 201


def test_c7_a_test_message_and_a_redelivery_are_due_immediately(
    client: httpx.Client, database: Database
) -> None:
    here = client.post("/v1/webhooks", json={"url": URL}).headers["Location"]
    tested = client.post(f"{here}/test")
    assert (tested.status_code, tested.json()["event"], tested.json()["job_id"]) == (
        202,
        "webhook.test",
        None,
    )
    message = f"{here}/deliveries/{tested.json()['id']}/redeliver"
    with database.write() as session:
        session.execute(update(Delivery).values(next_attempt_at=None, attempts=9))
    again = client.post(message)
    assert (again.status_code, again.json()["id"], again.json()["attempts"]) == (202, tested.json()["id"], 0)
    assert again.json()["next_attempt_at"]
    other = client.post("/v1/webhooks", json={"url": URL}).headers["Location"]
    assert client.post(message.replace(here, other)).status_code == 404, "a delivery of another webhook"
    assert client.post(f"{here}/deliveries/msg_nothing/redeliver").status_code == 404
    assert client.post("/v1/webhooks/hook_nothing/test").status_code == 404


def test_c7_links_in_messages_begin_with_the_address_of_the_request(
    client: httpx.Client, database: Database
) -> None:
    client.post("/v1/webhooks", json={"url": URL}, headers={"Host": "localhost:8123"})
    with database.read() as session:
        assert session.scalars(select(Webhook.base_url)).all() == ["http://localhost:8123"]
