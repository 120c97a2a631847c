"""Webhooks over HTTP: made, shown without their secret, removed; bad addresses are refused."""

from typing import Any

import httpx
import pytest

from models.store.database import Database
from tests.factories import finished_job

URL = "https://example.org/hook"


def test_the_secret_is_shown_once(client: httpx.Client) -> None:
    made = client.post("/v1/webhooks", json={"url": URL})
    assert (made.status_code, made.headers["Location"]) == (201, f"/v1/webhooks/{made.json()['id']}")
    assert made.json()["secret"].startswith("whsec_")
    assert made.json()["states"] == ["succeeded", "failed", "cancelled"]
    shown = client.get(made.headers["Location"]).json()
    assert shown == {name: value for name, value in made.json().items() if name != "secret"}
    assert client.get("/v1/webhooks").json()["items"] == [shown]


def test_made_once_however_often_it_is_sent(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "one"}
    first, again = (client.post("/v1/webhooks", json={"url": URL}, headers=key) for _ in range(2))
    assert first.content == again.content
    assert len(client.get("/v1/webhooks").json()["items"]) == 1


@pytest.mark.parametrize(
    ("wanted", "pointer"),
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
def test_what_cannot_be_told_is_refused(client: httpx.Client, wanted: dict[str, Any], pointer: str) -> None:
    refused = client.post("/v1/webhooks", json=wanted)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    assert client.get("/v1/webhooks").json()["items"] == []


def test_what_became_of_messages_is_shown_and_goes_with_the_webhook(
    client: httpx.Client, database: Database
) -> None:
    here = client.post("/v1/webhooks", json={"url": URL}).headers["Location"]
    job = finished_job(database)
    [delivery] = client.get(f"{here}/deliveries").json()["items"]
    assert (delivery["job_id"], delivery["event"], delivery["attempts"]) == (job.id, "job.succeeded", 0)
    assert client.delete(here).status_code == 204
    assert client.get(f"{here}/deliveries").status_code == 404
    assert client.delete(here).status_code == 404
