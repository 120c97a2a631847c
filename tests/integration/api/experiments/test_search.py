"""Experiments are found by what people remember of them."""

from typing import Any

import pytest

from models.store.database import Database
from tests.factories import finish_job
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of


def find(client: TestClient, **query: Any) -> list[str]:
    answer = client.get("/v1/experiments", params=query)
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


@pytest.fixture
def three(client: TestClient, database: Database) -> None:
    """`One` has finished, `Two, 100%` is the preset's, `three` is labelled and has only another technique."""
    for job in jobs_of(client, create(client, DOCUMENT | {"name": "One"})):
        finish_job(database, job["id"])
    create(client, {"preset": "dropout-vs-none", "name": "Two, 100%", "base": DOCUMENT["base"]})
    variant = {"name": "ridge", "changes": {"regularization": {"l2": {}}}}
    three = create(client, DOCUMENT | {"name": "three", "variants": [{"name": "none"}, variant]})
    client.patch(three["links"]["self"], json={"labels": {"course": "ml1"}, "notes": "For the LECTURE"})


@pytest.mark.usefixtures("three")
def test_search_and_filters(client: TestClient) -> None:
    assert find(client) == ["three", "Two, 100%", "One"]
    assert find(client, q="TWO") == find(client, q="0%") == find(client, q="-vs-") == ["Two, 100%"]
    assert find(client, q="lecture three") == find(client, q="ridge") == ["three"]
    assert find(client, q="three Two") == find(client, q="_") == []
    assert find(client, finished=True) == ["One"]
    assert find(client, finished=False) == ["three", "Two, 100%"]
    assert find(client, preset="dropout-vs-none") == ["Two, 100%"]
    assert find(client, technique=["l2", "l1"]) == ["three"]
    assert find(client, technique="dropout", dataset="mnist_5k") == ["Two, 100%", "One"]
    assert find(client, dataset="mnist") == []
    assert find(client, label=["course=ml1", "course=ml2"]) == ["three"]
    assert find(client, label="course=ml2") == find(client, created_before="2020-01-01T00:00:00Z") == []
    assert find(client, created_after="2020-01-01T00:00:00Z", archived="all") == find(client)
    assert find(client, archived="true") == []


@pytest.mark.usefixtures("three")
def test_by_name_from_page_to_page(client: TestClient) -> None:
    for sort in ("name", "-name", "created_at", "-created_at"):
        together = find(client, sort=sort)
        names, address = [], f"/v1/experiments?sort={sort}&limit=1"
        while address:
            answer = client.get(address)
            names += [item["name"] for item in answer.json()["items"]]
            address = answer.links.get("next", {}).get("url", "")
        assert names == together
        assert sorted(names) == sorted(find(client))
    assert find(client, sort="name") == find(client, sort="-name")[::-1]


@over_sqlite
@pytest.mark.parametrize(
    "query", [{"sort": "test_accuracy"}, {"q": "\0"}, {"technique": "magic"}, {"finished": "maybe"}]
)
def test_an_invalid_query_is_refused(client: TestClient, query: dict[str, str]) -> None:
    refused = client.get("/v1/experiments", params=query)
    assert refused.status_code == 422
    assert refused.json()["errors"][0].get("parameter", refused.json()["errors"][0].get("pointer"))


@over_sqlite
def test_presets_and_datasets_have_addresses(client: TestClient) -> None:
    for kind in ("presets", "datasets", "techniques"):
        for item in client.get(f"/v1/{kind}").json()["items"]:
            assert client.get(f"/v1/{kind}/{item['name']}").json() == item
        missing = client.get(f"/v1/{kind}/none")
        assert missing.status_code == 404
        assert item["name"] in missing.json()["detail"]
