"""Reports, curves and charts have ETags, and those of finished experiments are made once."""

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import Any

import pytest

from api.reports import html
from models.store.database import Database
from tests.factories import finish_job, result_record
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of


@pytest.fixture
def experiment(client: TestClient, database: Database) -> dict[str, Any]:
    """All but the last of its four jobs have finished."""
    created = create(client, DOCUMENT)
    for job in jobs_of(client, created)[:3]:
        finish_job(database, job["id"], result=result_record())
    return created


def test_an_etag_lasts_until_something_changes(
    client: TestClient, database: Database, experiment: dict[str, Any]
) -> None:
    here, jobs = experiment["links"]["self"], jobs_of(client, experiment)
    addresses = [
        *(f"{here}/report?format={form}" for form in ("json", "md", "html", "csv")),
        f"{here}/curves",
        f"{here}/curves?max_points=2",
        f"{here}/charts/accuracy-by-seed?format=svg",
        f"{here}/charts/accuracy-by-seed?format=png",
        f"/v1/reports?job={jobs[0]['id']}&job={jobs[3]['id']}",
    ]

    def fetch(tags: dict[str, str]) -> dict[str, tuple[int, str]]:
        answers = {
            address: client.get(address, headers={"If-None-Match": tags.get(address, "")})
            for address in addresses
        }
        return {address: (answer.status_code, answer.headers["ETag"]) for address, answer in answers.items()}

    first = fetch({})
    tags = {address: tag for address, (_, tag) in first.items()}
    assert len(set(tags.values())) == len(addresses)
    assert fetch(tags) == {address: (304, tag) for address, tag in tags.items()}
    finish_job(database, jobs[3]["id"], result=result_record(test_accuracy=0.9))
    second = fetch(tags)
    assert {status for status, _ in second.values()} == {200}
    assert fetch({address: tag for address, (_, tag) in second.items()}) == {
        address: (304, tag) for address, (_, tag) in second.items()
    }
    client.patch(here, json={"name": "renamed"})
    title = client.get(addresses[0], headers={"If-None-Match": second[addresses[0]][1]})
    assert title.json()["title"] == "renamed"


@over_sqlite
def test_a_finished_report_is_made_once(
    client: TestClient, database: Database, experiment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    render = html.render
    monkeypatch.setattr(
        html,
        "render",
        lambda comparison, **links: made.append(comparison.title) or render(comparison, **links),
    )
    address = f"{experiment['links']['report']}?format=html"
    # While it runs, it is made anew.
    for _ in range(2):
        assert "Partial" in client.get(address).text
    assert len(made) == 2
    finish_job(database, jobs_of(client, experiment)[3]["id"], result=result_record())
    with ThreadPoolExecutor(4) as pool:
        pages = set(pool.map(lambda _: client.get(address).text, range(8)))
    assert len(made) == 3
    assert len(pages) == 1
    client.post(f"{experiment['links']['self']}/extend", json={"seeds": [9]})
    assert "Partial" in client.get(address).text


@over_sqlite
def test_a_browser_loads_a_finished_reports_figures_as_it_scrolls(
    client: TestClient, database: Database, experiment: dict[str, Any]
) -> None:
    address, browser = f"{experiment['links']['report']}?format=html", {"Sec-Fetch-Dest": "document"}
    assert 'src="/v1' not in client.get(address, headers=browser).text
    finish_job(database, jobs_of(client, experiment)[3]["id"], result=result_record())
    page = client.get(f"{address}&baseline=dropout", headers=browser)
    assert page.text.count("<svg") == 1
    assert "img-src 'self' data:" in page.headers["Content-Security-Policy"]
    assert "Sec-Fetch-Dest" in page.headers["Vary"]
    pictures = [unescape(source) for source in re.findall(r'class="chart" src="([^"]*)"', page.text)]
    assert pictures
    for picture in pictures:
        assert "baseline=dropout" in picture
        assert client.get(picture).headers["Content-Type"].startswith("image/svg+xml")
    (download,) = re.findall(r'href="([^"]*)" download>', page.text)
    whole = client.get(unescape(download), headers=browser).text
    assert whole.count("<svg") == 1 + len(pictures)
    assert client.get(f"{address}&baseline=dropout").text == whole
