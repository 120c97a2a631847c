"""The dashboard's pages about jobs and techniques, and its login, as they are served."""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.dashboard.jobs import find_differences
from api.dashboard.rendering import POLICY
from models.experiments import FEWEST_PAIRS, ExperimentSpec
from models.scopes import Scope
from models.settings import Settings
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.jobs import NewJob
from models.store.tables import LOCAL_OWNER
from models.techniques import CATALOGUE
from tests.factories import finish_job, finished_job, job_in, job_spec, result_record
from tests.integration.api.conftest import TestClient
from tests.integration.api.dashboard.test_experiments import page
from tests.integration.api.experiments.test_routes import DOCUMENT, create
from tests.integration.api.experiments.test_routes import jobs_of as jobs_of_experiment
from tests.integration.api.test_api_keys import bearer, make_key

HARD_NAME = "<script>alert(1)</script>"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def stored(database: Database, **spec: object) -> str:
    with database.write() as session:
        return jobs.create_jobs(session, [NewJob(job_spec(**spec))])[0].id


@pytest.fixture
def paths(database: Database) -> list[str]:
    job = finished_job(database).id
    return ["/jobs", f"/jobs/{job}", f"/compare?job={job}", "/learn", "/learn/dropout", "/login"]


def test_pages_run_only_their_own_scripts_and_all_of_them_are_there(
    client: httpx.Client, paths: list[str]
) -> None:
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert re.findall(r"<script(?![^>]* src=)[^>]*>", answer.text) == []
        assert re.findall(r"\son\w+=", answer.text) == []
        for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
            assert client.get(address).status_code == 200, address


def test_a_name_is_never_markup(client: httpx.Client, database: Database) -> None:
    job = stored(database, name=HARD_NAME, labels={"a": HARD_NAME})
    for path in ("/jobs", f"/jobs/{job}", f"/compare?job={job}"):
        text = page(client, path)
        assert HARD_NAME not in text
        assert HARD_NAME in unescape(text)


def test_the_list_is_filtered_sorted_and_paged_as_its_address_says(
    client: httpx.Client, database: Database
) -> None:
    worse, better = (finished_job(database, result=result_record(test_accuracy=a)).id for a in (0.91, 0.93))
    failed = job_in(database, JobState.FAILED)

    def listed(query: str) -> list[str]:
        return re.findall(r'<tr data-job="(\w+)"', page(client, f"/jobs?{query}"))

    assert listed("state=failed") == [failed]
    assert listed("sort=-test_accuracy") == [better, worse]
    assert listed("technique=mixup") == []
    first = page(client, "/jobs?sort=-test_accuracy&limit=1")
    following = unescape(re.findall(r'href="(/jobs\?[^"]*cursor[^"]*)"', first)[0])
    assert re.findall(r'<tr data-job="(\w+)"', page(client, following)) == [worse]
    assert "highest test accuracy" in page(client, "/jobs")


def test_what_the_address_asks_wrongly_is_told_as_a_page(client: httpx.Client) -> None:
    answer = client.get("/jobs?state=sleeping")
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")
    assert "state" in answer.text
    assert client.get("/jobs/job_none").status_code == 404
    assert client.get("/learn/nothing").status_code == 404


def test_fields_that_are_left_empty_filter_nothing(client: httpx.Client, database: Database) -> None:
    job = finished_job(database).id
    # As a browser sends the form where no script helps it.
    assert job in page(client, "/jobs?state=&technique=&dataset=&label=&sort=-created_at")
    assert job in page(client, "/jobs?state=succeeded&label=&cursor=")
    assert client.get("/jobs?label=team%3D").status_code == 200
    assert client.get("/v1/jobs?state=").status_code == 422


def test_every_fault_of_an_address_is_told(client: httpx.Client) -> None:
    text = client.get("/jobs?limit=0&state=sleeping").text
    assert re.findall(r"<li><code>(.*?)</code>", text) == ["?state", "?limit"]


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "/jobs/a%2Fb", "/login/x", "/logout"])
def test_what_is_not_there_is_told_to_a_browser_as_a_page(client: httpx.Client, path: str) -> None:
    status = 405 if path == "/logout" else 404
    answer = client.get(path, headers=HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["Vary"] == "Accept"
    assert 'href="/jobs"' in answer.text
    assert client.get(path).json()["status"] == status


def test_programs_are_told_problems_as_documents(client: httpx.Client) -> None:
    for path in ("/v1/jobs/job_none", "/static/nothing.js"):
        assert client.get(path, headers=HTML).headers["content-type"] == "application/problem+json"


def test_a_job_shows_what_it_is_and_what_came_out(client: httpx.Client, database: Database) -> None:
    job = stored(database, name="shown", regularization={"dropout": {"rate": 0.25}})
    waiting = page(client, f"/jobs/{job}")
    assert "number 1 in the queue" in waiting
    assert "the test images are touched once" in waiting
    finish_job(database, job, result=result_record(test_accuracy=0.9375), epochs=2)
    text = page(client, f"/jobs/{job}")
    assert "93.75 %" in text
    assert "dropout rate=0.25" in text
    command = unescape(re.findall(r'<pre id="curl"[^>]*>(.*?)</pre>', text, re.DOTALL)[0])
    assert command.startswith("curl -sS http://testserver/v1/jobs -H 'Content-Type")
    assert '"rate":0.25' in command
    assert '"epochs"' not in command or "test_accuracy" not in command
    assert "Which digits it confuses" in text


def test_a_job_that_failed_says_that_nothing_will_come(client: httpx.Client, database: Database) -> None:
    text = page(client, f"/jobs/{job_in(database, JobState.FAILED)}")
    assert "Nothing: it ended before the test images were touched." in text


def test_jobs_are_compared_by_what_differs(client: httpx.Client, database: Database) -> None:
    ids = [finished_job(database, job_spec(seed=seed)).id for seed in (3, 4)]
    text = page(client, f"/compare?job={ids[0]}&job={ids[1]}")
    assert re.findall(r"<th scope=\"row\"><code>(.*?)</code>", text) == ["seed"]
    assert f"/v1/reports?job={ids[0]}&amp;job={ids[1]}&amp;format=html" in text
    assert re.findall(r'data-title="(.*?)"', text)[:2] == ["none, seed 3", "none, seed 4"]
    named = finished_job(database, job_spec(name="dropout, seed 5", seed=5)).id
    assert 'data-title="dropout, seed 5"' in page(client, f"/compare?job={named}")
    assert client.get("/compare?" + "&".join(f"job=job_{n}" for n in range(11))).status_code == 422


def test_differences_of_specifications() -> None:
    specs = [{"a": {"b": 1, "c": {}}, "name": "x"}, {"a": {"b": 2, "c": {"d": 3}}, "name": "y"}]
    assert find_differences(specs) == [("a.b", ["1", "2"]), ("a.c.d", ["-", "3"])]


def test_every_technique_is_explained(client: httpx.Client) -> None:
    text = page(client, "/learn")
    for name, technique in CATALOGUE.items():
        assert f'href="/learn/{name}"' in text
        assert technique.about.title in unescape(page(client, f"/learn/{name}"))


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_technique_can_be_run_small(client: httpx.Client, name: str) -> None:
    form = re.findall(r'<form id="small" data-document="(.*?)">', page(client, f"/learn/{name}"))[0]
    answer = client.post("/v1/experiments?dry_run=true", json=json.loads(unescape(form)))
    assert (answer.status_code, answer.json()["jobs"]) == (200, 2 * FEWEST_PAIRS), answer.text
    experiment = ExperimentSpec.model_validate_json(unescape(form))
    assert [list(job.regularization.active) for _, job in experiment.build_runs()[:2]] == [[], [name]]


def outcomes(text: str) -> dict[str, list[str]]:
    """What a technique's page tells of the variants, by their names."""
    table = re.findall(r'<table id="outcomes">(.*?)</table>', text, re.DOTALL)
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', table[0], re.DOTALL) if table else []
    return {unescape(name): re.findall(r'<td class="number">(.*?)</td>', cells) for name, cells in rows}


def finish(client: httpx.Client, database: Database, experiment: dict[str, Any], leave: int = 0) -> None:
    for job in jobs_of_experiment(client, experiment)[leave:]:
        techniques = len(job["spec"]["regularization"])
        result = result_record(test_accuracy=0.90 + 0.05 * techniques, test_loss=0.5 - 0.1 * techniques)
        finish_job(database, job["id"], result=result)


def test_a_techniques_effect_is_that_of_an_experiment_here(client: httpx.Client, database: Database) -> None:
    assert "No experiment of this installation" in page(client, "/learn/dropout")
    experiment = create(client, DOCUMENT)
    finish(client, database, experiment, leave=1)
    text = page(client, "/learn/dropout")
    assert f'href="/experiments/{experiment["id"]}"' in text
    # Of the two seeds one model has not finished, so only the other is told.
    assert "with one seed" in text
    assert outcomes(text) == {"none (without it)": ["90.00 %", "0.5000"], "dropout": ["95.00 %", "0.4000"]}
    drawn = re.findall(r'data-job="(\w+)"', text)
    assert drawn == [job["id"] for job in jobs_of_experiment(client, experiment) if job["spec"]["seed"] == 7]


@pytest.mark.parametrize(
    "changes",
    [
        {"regularization": {"dropout": {}, "l2": {}}},
        {"regularization": {"dropout": {}}, "model": {"hidden_units": [8]}},
    ],
)
def test_what_else_has_changed_is_no_techniques_effect(
    client: httpx.Client, database: Database, changes: dict[str, Any]
) -> None:
    variants = [{"name": "none"}, {"name": "dropout and more", "changes": changes}]
    finish(client, database, create(client, DOCUMENT | {"variants": variants, "allow_confounders": True}))
    assert outcomes(page(client, "/learn/dropout")) == {}


def test_a_regularized_baseline_shows_no_techniques_effect(client: httpx.Client, database: Database) -> None:
    variants = [
        {"name": "l2", "changes": {"regularization": {"l2": {}}}},
        {"name": "dropout", "changes": {"regularization": {"dropout": {}}}},
    ]
    finish(client, database, create(client, DOCUMENT | {"variants": variants}))
    assert outcomes(page(client, "/learn/dropout")) == {}


def test_the_experiment_with_the_most_seeds_shows_a_technique(
    client: httpx.Client, database: Database
) -> None:
    larger = create(client, DOCUMENT | {"seeds": [1, 2, 3]})
    variants = [{"name": HARD_NAME}, {"name": '"]<b>', "changes": {"regularization": {"dropout": {}}}}]
    newer = create(client, DOCUMENT | {"seeds": [4], "variants": variants})
    finish(client, database, newer)
    text = page(client, "/learn/dropout")
    assert f'href="/experiments/{newer["id"]}"' in text
    assert "<b>" not in text
    assert HARD_NAME not in text
    finish(client, database, larger)
    assert "means over 3 seeds" in page(client, "/learn/dropout")


def test_a_browser_is_led_to_the_pages_and_a_program_to_the_resources(client: httpx.Client) -> None:
    led = client.get("/", headers=HTML, follow_redirects=False)
    assert (led.status_code, led.headers["Location"], led.headers["Vary"]) == (303, "/jobs", "Accept")
    assert client.get("/").json()["links"]["jobs"] == "/v1/jobs"


class TestLogin:
    """Where keys are required."""

    @pytest.fixture
    def guarded(self, database_settings: Settings) -> Iterator[TestClient]:
        strict = database_settings.model_copy(update={"api_keys_required": "true"})
        with TestClient(create_app(strict)) as client:
            yield client

    def test_a_page_without_a_key_leads_to_the_form(self, guarded: TestClient) -> None:
        answer = guarded.get("/jobs", headers=HTML, follow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=%2Fjobs")
        assert guarded.get("/v1/jobs", headers=HTML).status_code == 401
        assert guarded.get("/jobs").status_code == 401
        assert "API key" in guarded.get("/login?next=/jobs").text

    def test_who_logs_in_comes_to_the_very_address_that_was_asked_for(
        self, guarded: TestClient, database: Database
    ) -> None:
        wanted = "/new?spec=%7B%22name%22%3A%22a%26b%22%7D&" + "x=%2F" * 1000
        form = guarded.get(wanted, headers=HTML).text
        hidden = unescape(re.findall(r'name="next" value="(.*?)"', form)[0])
        sent = {"key": make_key(database), "next": hidden}
        answer = guarded.post("/login", data=sent, follow_redirects=False)
        assert answer.headers["Location"] == wanted

    def test_what_the_door_refuses_is_a_page_too(
        self, database_settings: Settings, database: Database
    ) -> None:
        settings = {"api_keys_required": "true", "max_reads_per_minute": 1}
        with TestClient(create_app(database_settings.model_copy(update=settings))) as client:
            headers = HTML | bearer(make_key(database))
            assert client.get("/jobs", headers=headers).status_code == 200
            answer = client.get("/jobs", headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (429, "text/html; charset=utf-8")
            assert int(answer.headers["Retry-After"]) > 0
            assert "try again in" in answer.text

    def test_a_key_is_kept_out_of_reach_of_scripts(self, guarded: TestClient, database: Database) -> None:
        key = make_key(database)
        answer = guarded.post("/login", data={"key": key, "next": "/learn"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/learn")
        assert re.search(r"HttpOnly.*SameSite=strict", answer.headers["Set-Cookie"])
        assert guarded.get("/jobs", headers=HTML, follow_redirects=False).status_code == 200
        assert guarded.get("/v1/jobs").status_code == 200
        guarded.post("/logout")
        assert guarded.get("/v1/jobs").status_code == 401

    def test_a_wrong_key_is_not_kept(self, guarded: TestClient) -> None:
        for key in ("", "rb_" + "x" * 43, "\x00"):
            answer = guarded.post("/login", data={"key": key})
            assert answer.status_code == 401
            assert "Set-Cookie" not in answer.headers

    @pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "x"])
    def test_nobody_is_led_elsewhere(self, guarded: TestClient, database: Database, wanted: str) -> None:
        sent = {"key": make_key(database), "next": wanted}
        assert guarded.post("/login", data=sent, follow_redirects=False).headers["Location"] == "/jobs"

    def test_another_sites_page_cannot_use_the_kept_key(
        self, guarded: TestClient, database: Database
    ) -> None:
        guarded.post("/login", data={"key": make_key(database)})
        spec = job_spec().model_dump(mode="json")
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            answer = guarded.post("/v1/jobs", json=spec, headers=headers)
            assert answer.json()["type"] == "/problems/cross_origin"
        assert guarded.post("/login", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert guarded.post("/logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert guarded.post("/v1/jobs?dry_run=true", json=spec).status_code == 200

    def test_a_key_that_may_read_changes_nothing(self, guarded: TestClient, database: Database) -> None:
        job = stored(database)
        guarded.post("/login", data={"key": make_key(database, Scope.READ, owner=LOCAL_OWNER)})
        assert guarded.get(f"/jobs/{job}").status_code == 200
        spec = job_spec().model_dump(mode="json")
        for path, body in (
            ("/v1/jobs", spec),
            ("/v1/jobs?dry_run=true", spec),
            (f"/v1/jobs/{job}/cancel", None),
        ):
            assert guarded.post(path, json=body).json()["type"] == "/problems/insufficient_scope"

    def test_lines_for_the_shell_show_a_key(self, guarded: TestClient, database: Database) -> None:
        ours = bearer(make_key(database))
        header = '-H "Authorization: Bearer $REGBENCH_API_KEY"'
        job = guarded.post("/v1/jobs", json=job_spec().model_dump(mode="json"), headers=ours).json()["id"]
        line = re.findall(r'<pre id="curl"[^>]*>(.*?)</pre>', guarded.get(f"/jobs/{job}", headers=ours).text)[
            0
        ]
        assert header in unescape(line)
        for path in ("/new", "/new/experiment"):
            (command,) = re.findall(r'data-command="(.*?)"', guarded.get(path, headers=ours).text)
            assert header in unescape(command)

    def test_anothers_job_is_not_shown(self, guarded: TestClient, database: Database) -> None:
        job = finished_job(database).id
        theirs = bearer(make_key(database, owner="theirs"))
        for path in (f"/jobs/{job}", f"/compare?job={job}", f"/try?left={job}"):
            assert guarded.get(path, headers=theirs).status_code == 404
        for path in ("/jobs", "/try"):
            assert job not in guarded.get(path, headers=theirs).text

    def test_what_a_technique_did_is_told_its_owner_alone(
        self, guarded: TestClient, database: Database
    ) -> None:
        ours, theirs = (bearer(make_key(database, owner=owner)) for owner in ("ours", "theirs"))
        created = guarded.post("/v1/experiments", json=DOCUMENT, headers=ours).json()
        jobs_of = guarded.get(f"/v1/jobs?experiment={created['id']}", headers=ours).json()
        for job in jobs_of["items"]:
            finish_job(database, job["id"])
        assert created["id"] in guarded.get("/learn/dropout", headers=ours).text
        assert created["id"] not in guarded.get("/learn/dropout", headers=theirs).text
