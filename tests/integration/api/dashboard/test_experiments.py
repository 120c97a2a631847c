"""The HTML of the dashboard's pages about experiments, before any script runs."""

import re
from html import escape
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from api.app import create_app
from api.dashboard import static_files
from api.dashboard.rendering import POLICY
from models.experiments import FEWEST_PAIRS
from models.settings import Settings
from models.states import JobState
from models.store import queue
from models.store.database import Database
from models.techniques import CATALOGUE
from tests.factories import finish_job, finished_job, job_spec, result_record
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of
from tests.integration.api.test_api_keys import bearer, make_key

HOSTILE_NAME = "<script>alert(1)</script>"
PAGES = ("/experiments", "/new", "/new/experiment", "/new/dataset", "/try")


def get_page(client: httpx.Client, path: str) -> str:
    response = client.get(path, headers={"Accept": "text/html"})
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return response.text


@over_sqlite
@pytest.mark.parametrize("path", PAGES)
def test_pages_run_only_their_own_scripts(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.headers["Content-Security-Policy"] == POLICY
    assert "script-src 'self';" in POLICY
    assert re.findall(r"<script(?![^>]* src=)[^>]*>", response.text) == []
    assert re.findall(r"\son\w+=", response.text) == []


@over_sqlite
@pytest.mark.parametrize("path", PAGES)
def test_every_style_and_script_of_a_page_exists(client: httpx.Client, path: str) -> None:
    text = get_page(client, path)
    # A script that is preloaded by another address than it is imported by would be fetched twice.
    preloaded = re.findall(r'<link rel="modulepreload" href="(/static/[^"]+)"', text)
    imported: set[str] = set()
    for url in {*re.findall(r'(?:src|href)="(/static/[^"]+)"', text)}:
        response = client.get(url)
        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["Content-Encoding"] == "gzip"
        imported |= {f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', response.text)}
    assert imported
    assert {*preloaded} == imported


def test_a_script_without_a_digest_is_revalidated(client: httpx.Client) -> None:
    response = client.get("/static/api.js")
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["content-type"].startswith("text/javascript")
    again = client.get("/static/api.js", headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@over_sqlite
@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpages.py", "plotly-7.1.0.js", ".", "%00"])
def test_no_other_file_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_modules_import_only_existing_files() -> None:
    for script in static_files.FOLDER.glob("*.js"):
        for imported in re.findall(r'from "\./([^"]+)"', script.read_text()):
            assert (static_files.FOLDER / imported).is_file(), f"{script.name} imports {imported}"


def test_an_experiments_run_table_shows_each_job(client: httpx.Client, database: Database) -> None:
    experiment = create(client, DOCUMENT)
    jobs = jobs_of(client, experiment)
    finish_job(database, jobs[0]["id"], result=result_record(test_accuracy=0.9123, test_loss=0.25))
    finish_job(database, jobs[1]["id"], result=result_record(test_accuracy=0.9456))
    with database.write() as session:
        queue.claim(session, jobs[2]["id"], owner="worker", lease_seconds=30)
        queue.fail(session, jobs[2]["id"], 1, code="oops", message="It broke.", retryable=False)
    text = get_page(client, f"/experiments/{experiment['id']}")
    (form,) = re.findall(r'href="(/new/experiment[?]from=[^"]+)"', text)
    assert "New experiment" in get_page(client, form)
    for job in jobs:
        assert f'href="/jobs/{job["id"]}"' in text
    assert "none, seed 3: test accuracy 91.23 %, test loss 0.2500" in text
    assert "none, seed 7: failed: It broke." in text
    assert "dropout, seed 7: queued" in text
    assert "2 of 4 succeeded" in text
    assert "1 of 2 seeds finished in all variants: too early to say." in text
    assert "shade-0" in text
    assert "shade-6" in text
    assert "To choose one" not in text, "a job has not ended"


def test_a_menu_has_the_actions_that_apply(client: httpx.Client, database: Database) -> None:
    def list_actions() -> list[str]:
        text = get_page(client, f"/experiments/{experiment['id']}")
        return re.findall(r'data-post="[^"]+"[^>]*>([^<]+)</button></li>', text)

    experiment = create(client, DOCUMENT)
    assert list_actions() == ["Pause", "Cancel"]
    first, *others = jobs_of(client, experiment)
    with database.write() as session:
        queue.claim(session, first["id"], owner="worker", lease_seconds=30)
        queue.fail(session, first["id"], 1, code="oops", message="It broke.", retryable=False)
    assert list_actions() == ["Pause", "Cancel", "Retry failed jobs"]
    for job in others:
        finish_job(database, job["id"])
    assert list_actions() == ["Retry failed jobs"]


def test_names_are_never_markup(client: httpx.Client, database: Database) -> None:
    variants = [{"name": HOSTILE_NAME}, {"name": '"><img src=x onerror=alert(1)>'}]
    experiment = create(client, DOCUMENT | {"name": HOSTILE_NAME, "variants": variants})
    finish_job(database, jobs_of(client, experiment)[0]["id"])
    finished_job(database, job_spec(name=HOSTILE_NAME))
    for path in ("/experiments", f"/experiments/{experiment['id']}", "/try"):
        text = get_page(client, path)
        assert HOSTILE_NAME not in text
        assert "<img" not in text
        assert escape(HOSTILE_NAME) in text


def test_the_next_page_of_the_list_begins_where_the_first_ended(client: httpx.Client) -> None:
    for index in range(52):
        create(client, DOCUMENT | {"name": f"number {index:02}", "reuse": False, "seeds": [0]})
    first = get_page(client, "/experiments")
    assert re.findall(r">number (\d+)</a>", first) == [f"{index:02}" for index in range(51, 1, -1)]
    (further,) = re.findall(r'href="(/experiments\?cursor=[^"]+)"', first)
    second = get_page(client, further)
    assert re.findall(r">number (\d+)</a>", second) == ["01", "00"]
    assert "cursor=" not in second


def count_queries(client: TestClient, path: str) -> int:
    statements: list[str] = []
    engine = client.app.state.database.engine

    def record(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    get_page(client, path)
    event.remove(engine, "before_cursor_execute", record)
    return len([statement for statement in statements if statement.lstrip().startswith("SELECT")])


def test_the_progress_of_finished_experiments_is_cached(client: TestClient, database: Database) -> None:
    for job in jobs_of(client, create(client, DOCUMENT)):
        finish_job(database, job["id"])
    first, second = (count_queries(client, "/experiments") for _ in range(2))
    assert second < first
    assert "finished" in get_page(client, "/experiments")


def test_queries_do_not_grow(client: TestClient, database: Database) -> None:
    def create_finished(seeds: int) -> str:
        document = {key: value for key, value in DOCUMENT.items() if key != "seeds"}
        created = create(client, document | {"replicates": seeds, "reuse": False})
        for job in jobs_of(client, created):
            finish_job(database, job["id"], epochs=1)
        return f"/experiments/{created['id']}"

    small = create_finished(1)
    before = {path: count_queries(client, path) for path in ("/experiments", "/jobs", small, "/try")}
    large = create_finished(5)
    assert before == {
        "/experiments": count_queries(client, "/experiments"),
        "/jobs": count_queries(client, "/jobs"),
        small: count_queries(client, large),
        "/try": count_queries(client, "/try"),
    }


def test_forms_offer_and_explain_every_technique(client: httpx.Client) -> None:
    for path in ("/new", "/new/experiment"):
        text = get_page(client, path)
        for name, technique in CATALOGUE.items():
            assert f'data-pointer="/regularization/{name}"' in text
            assert str(escape(technique.about.when_to_use, quote=False).replace("`", "")) in re.sub(
                r"</?code>|&#3[49];", lambda match: {"&#34;": '"', "&#39;": "'"}.get(match[0], ""), text
            )


def test_the_playground_preselects_two_models_of_one_experiment_and_seed(
    client: httpx.Client, database: Database
) -> None:
    assert "No model is trained yet" in get_page(client, "/try")
    experiment = create(client, DOCUMENT)
    jobs = jobs_of(client, experiment)
    for job in jobs[:3]:
        finish_job(database, job["id"])
    finished_job(database, job_spec(name="on its own", seed=7))
    finished_job(database, job_spec())
    text = get_page(client, "/try")
    named = f"none, seed 3, {experiment['name']}"
    assert {"on its own, seed 7", "none, seed 0", named} < set(
        re.findall(r">([^>]*): \d+\.\d+ %</option>", text)
    )
    preselected = re.findall(r'<option value="(\w+)" selected', text)
    assert preselected == [jobs[0]["id"], jobs[1]["id"]]
    requested = get_page(client, f"/try?left={jobs[2]['id']}&right={jobs[0]['id']}")
    assert re.findall(r'<option value="(\w+)" selected', requested) == [jobs[2]["id"], jobs[0]["id"]]


def test_pages_show_only_the_owners_own_experiments(database_settings: Settings, database: Database) -> None:
    settings = database_settings.model_copy(update={"api_keys_required": "auto"})
    ours, theirs = (bearer(make_key(database, owner=owner)) for owner in ("ours", "theirs"))
    with TestClient(create_app(settings)) as client:
        created = client.post("/v1/experiments", json=DOCUMENT, headers=ours).json()
        assert created["name"] in client.get("/experiments", headers=ours).text
        assert created["id"] not in client.get("/experiments", headers=theirs).text
        response = client.get(f"/experiments/{created['id']}", headers=theirs)
        assert response.status_code == 404
        assert client.get("/static/app.css").status_code == 200


def test_problems_are_pages(client: httpx.Client) -> None:
    missing = client.get("/experiments/exp_none")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no experiment exp_none." in missing.text
    assert missing.headers["X-Request-Id"] in missing.text
    for path in (
        f"/experiments?cursor={HOSTILE_NAME}",
        "/new?nothing=1",
        "/try?left=<script>",
        "/try?left=job_no",
    ):
        response = client.get(path)
        assert response.status_code in (404, 422)
        assert "<h1>" in response.text
        assert HOSTILE_NAME not in response.text
        assert response.headers["Content-Security-Policy"] == POLICY


def test_pages_are_not_in_the_openapi_document(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()["paths"]
    assert not {"/experiments", "/new", "/try", "/static/{name}"} & set(described)
    assert JobState.QUEUED in get_page(client, f"/experiments/{create(client, DOCUMENT)['id']}")


@over_sqlite
@pytest.mark.parametrize("path", [*PAGES, "/jobs", "/learn", "/learn/dropout", "/experiments/{}"])
def test_f17_the_current_page_is_marked_by_a_token_without_quotes(client: httpx.Client, path: str) -> None:
    text = get_page(client, path.format(create(client, DOCUMENT)["id"]))
    values = re.findall(r"<a [^>]*aria-current=([^ >]*)", text)
    assert set(values) == {'"page"'}
    # No attribute's value begins with a quotation mark that a template has escaped.
    assert re.findall(r"<[^>]*=&#34;[^>]*>", text) == []


def test_the_list_is_filtered_sorted_and_shows_each_answer(client: httpx.Client, database: Database) -> None:
    first = create(client, DOCUMENT | {"name": "B first", "seeds": list(range(FEWEST_PAIRS))})
    for job in jobs_of(client, first):
        dropout = bool(job["spec"]["regularization"])
        accuracy = 0.90 + 0.01 * dropout + 0.001 * job["spec"]["seed"] * (2 * dropout - 1)
        finish_job(database, job["id"], result=result_record(test_accuracy=accuracy))
    second = create(client, DOCUMENT | {"name": "A second", "reuse": False})
    archived = create(client, DOCUMENT | {"name": "C archived", "reuse": False})
    assert client.patch(f"/v1/experiments/{archived['id']}", json={"archived": True}).status_code == 200

    def list_ids(query: str) -> list[str]:
        text = get_page(client, f"/experiments?{query}")
        return re.findall(r'<th scope="row"><a href="/experiments/(\w+)">', text)

    assert list_ids("") == [second["id"], first["id"]]
    assert list_ids("sort=name&limit=1") == list_ids("finished=false") == [second["id"]]
    assert list_ids("q=b&label=") == list_ids("finished=true&q=first") == [first["id"]]
    assert list_ids("archived=true") == [archived["id"]]
    assert list_ids("owner=local") == [second["id"], first["id"]]
    assert list_ids("owner=nobody") == []
    text = get_page(client, "/experiments?q=first")
    assert "dropout raises the test accuracy of none" in text
    assert re.search(r"baseline: dropout: \+\d\.\d\d \(\+\d\.\d\d to \+\d\.\d\d\) points", text)
    assert '<g class="higher">' in text
    # An experiment's own page has the answer of each metric before a script has fetched the report.
    answers = client.get(f"/v1/experiments/{first['id']}/report").json()["answers"]
    page = get_page(client, f"/experiments/{first['id']}")
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page) == [
        (answer["title"], answer["text"].removeprefix(f"{answer['title']}: ")) for answer in answers
    ]
    assert answers[0]["confidence"] in page


def test_f24_one_variant_seed_and_epoch_are_singular(client: httpx.Client) -> None:
    alone = {"name": "alone", "base": {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1}}}
    created = create(client, alone | {"variants": [{"name": "none"}], "seeds": [0]})
    page = get_page(client, f"/experiments/{created['id']}")
    assert "1 variant &times; 1 seed on mnist_5k, 1 epoch," in page
    assert ">1 &times; 1 seed</td>" in get_page(client, "/experiments")
    (job,) = jobs_of(client, created)
    assert "<dd>1 epoch, batch size" in get_page(client, f"/jobs/{job['id']}")
    assert "1 job compared" in get_page(client, f"/compare?job={job['id']}")


def test_an_experiments_design_has_its_points_and_parts(client: httpx.Client) -> None:
    alone = {"base": {"dataset": {"name": "mnist_5k"}}, "variants": [{"name": "none"}], "seeds": [0]}
    axes = [{"field": "/training/epochs", "values": [1, 2]}]
    for document, design in (
        (alone | {"name": "parts", "parts": 2}, "1 seed &times; 2 parts"),
        (alone | {"name": "points", "axes": axes}, "1 seed &times; 2 points"),
    ):
        created = create(client, document)
        assert f"1 variant &times; {design} " in get_page(client, f"/experiments/{created['id']}")
        assert f">1 &times; {design}</td>" in get_page(client, "/experiments")
