"""The HTML of the dashboard's pages about jobs and techniques, and its login."""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from api.app import create_app
from api.dashboard.jobs import find_differences
from api.dashboard.questions import QUESTIONS, STUDIES
from api.dashboard.rendering import POLICY
from api.glossary import TERMS
from models.experiments import FEWEST_PAIRS, ExperimentSpec
from models.scopes import Scope
from models.settings import Settings
from models.spec import JobSpec
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.jobs import NewJob
from models.store.keys import SESSION_PREFIX
from models.store.tables import LOCAL_OWNER
from models.store.transitions import record_event
from models.store.workers import announce_worker
from models.techniques import CATALOGUE
from tests.factories import finish_job, finished_job, job_in, job_spec, result_record
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.dashboard.test_experiments import get_page
from tests.integration.api.experiments.test_routes import DOCUMENT, create
from tests.integration.api.experiments.test_routes import jobs_of as jobs_of_experiment
from tests.integration.api.test_api_keys import bearer, make_key

HOSTILE_NAME = "<script>alert(1)</script>"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def create_job(database: Database, **spec: object) -> str:
    with database.write() as session:
        return jobs.create_jobs(session, [NewJob(job_spec(**spec))])[0].id


@pytest.fixture
def paths(database: Database) -> list[str]:
    job = finished_job(database).id
    return [
        "/docs",
        "/problems/conflict",
        "/jobs",
        f"/jobs/{job}",
        f"/compare?job={job}",
        "/learn",
        "/learn/dropout",
        "/learn/glossary",
        "/learn/what-to-use",
        "/learn/questions/l1-and-l2",
        "/login",
    ]


def test_pages_run_only_their_own_scripts_which_exist(client: httpx.Client, paths: list[str]) -> None:
    for path in paths:
        response = client.get(path, headers=HTML)
        assert response.status_code == 200, path
        assert response.headers["Content-Security-Policy"] == POLICY
        assert 'aria-label="Pages"' in response.text
        assert re.findall(r"<script(?![^>]* src=)[^>]*>", response.text) == []
        assert re.findall(r"\son\w+=", response.text) == []
        for url in re.findall(r'(?:src|href)="(/static/[^"]+)"', response.text):
            assert client.get(url).status_code == 200, url


def test_pages_link_each_term_once_to_an_entry_of_the_glossary(
    client: httpx.Client, paths: list[str]
) -> None:
    entries = re.findall(r'<div id="(.*?)"><dt>', get_page(client, "/learn/glossary"))
    assert entries == list(TERMS)
    linked: set[str] = set()
    for path in [*paths, "/", "/experiments", "/new", "/new/experiment", "/try"]:
        text = get_page(client, path)
        terms = re.findall(r'<a class="term" href="/learn/glossary#(.*?)"', text)
        assert len(terms) == len(set(terms)), path
        assert not re.search(
            r'<(a|button|summary|label)\b[^>]*>(?:(?!</\1>).)*<a class="term"', text, re.DOTALL
        )
        linked |= set(terms)
    assert {"seed", "gap", "ece", "nats"} <= linked <= set(TERMS)


def test_a_linear_model_is_called_so_and_shows_each_classs_weights(
    client: httpx.Client, database: Database
) -> None:
    text = get_page(client, f"/jobs/{finished_job(database, job_spec(model={'hidden_units': []})).id}")
    assert "linear, without hidden layers" in text
    assert re.findall(r'<img src="data:image/png;base64,[^"]+" [^>]*alt="([^"]+)"', text) == [
        "Weights of class 0"
    ]


def test_a_name_is_never_markup(client: httpx.Client, database: Database) -> None:
    job = create_job(database, name=HOSTILE_NAME, labels={"a": HOSTILE_NAME})
    for path in ("/jobs", f"/jobs/{job}", f"/compare?job={job}"):
        text = get_page(client, path)
        assert HOSTILE_NAME not in text
        assert HOSTILE_NAME in unescape(text)


def test_the_query_string_filters_sorts_and_pages_the_list(client: httpx.Client, database: Database) -> None:
    worse, better = (finished_job(database, result=result_record(test_accuracy=a)).id for a in (0.91, 0.93))
    failed = job_in(database, JobState.FAILED)

    def list_jobs(query: str) -> list[str]:
        return re.findall(r'<tr data-job="(\w+)"', get_page(client, f"/jobs?{query}"))

    assert list_jobs("state=failed") == [failed]
    assert list_jobs("sort=-test_accuracy") == [better, worse]
    assert list_jobs("technique=mixup") == []
    first = get_page(client, "/jobs?sort=-test_accuracy&limit=1")
    following = unescape(re.findall(r'href="(/jobs\?[^"]*cursor[^"]*)"', first)[0])
    assert re.findall(r'<tr data-job="(\w+)"', get_page(client, following)) == [worse]
    assert "highest test accuracy" not in get_page(client, "/jobs"), "jobs of a page need not be comparable"


def test_the_list_draws_the_losses_of_jobs_with_two_epochs(client: httpx.Client, database: Database) -> None:
    once, often = finished_job(database, epochs=1).id, finished_job(database, epochs=100).id
    text = get_page(client, "/jobs")
    assert re.search(rf'id="curve-{once}"[^>]*></td>', text)
    (words, points) = re.findall(rf'id="curve-{often}".*?<title>(.*?)</title>.*?points="(.*?)"', text)[0]
    with database.read() as session:
        epochs = jobs.get_epochs(session, often)
    first, last = epochs[4].validation_loss, epochs[-1].validation_loss
    assert words == f"Validation loss: {first:.4f} after epoch 5, {last:.4f} after epoch 100"
    assert len(points.split()) == 20


def test_the_list_counts_its_jobs_and_its_headers_sort(client: httpx.Client, database: Database) -> None:
    for accuracy in (0.91, 0.92, 0.93):
        finished_job(database, result=result_record(test_accuracy=accuracy))
    failed = job_in(database, JobState.FAILED)
    first = get_page(client, "/jobs?limit=3")
    assert ">1-3 of 4<" in first
    second = get_page(client, unescape(re.findall(r'href="(/jobs\?[^"]*cursor[^"]*)"', first)[0]))
    assert ">4 of 4<" in second
    assert 'href="/jobs?limit=3">First page</a>' in second
    assert "-test_accuracy" in re.findall(r'<a href="/jobs\?(.*?)">Test accuracy</a>', first)[0]
    by_accuracy = get_page(client, "/jobs?sort=-test_accuracy&state=succeeded")
    assert ">1-3 of 3<" in by_accuracy
    assert re.search(r'aria-sort="descending"><a href="/jobs\?state=succeeded&amp;sort=test_acc', by_accuracy)
    error = client.get(f"/v1/jobs/{failed}").json()["error"]["message"]
    assert f'class="reason">{error} <a' in unescape(get_page(client, "/jobs?state=failed"))
    assert ">1 of 1<" in get_page(client, "/jobs?owner=local&state=failed")
    assert "No jobs match" in get_page(client, "/jobs?owner=nobody")


def test_an_invalid_query_string_is_a_problem_page(client: httpx.Client) -> None:
    response = client.get("/jobs?state=sleeping")
    assert response.status_code == 422
    assert response.headers["content-type"].startswith("text/html")
    assert "state" in response.text
    assert client.get("/jobs/job_none").status_code == 404
    assert client.get("/learn/nothing").status_code == 404


def test_empty_fields_do_not_filter(client: httpx.Client, database: Database) -> None:
    job = finished_job(database).id
    # As a browser without scripts sends the form.
    assert job in get_page(client, "/jobs?state=&technique=&dataset=&label=&sort=-created_at")
    assert job in get_page(client, "/jobs?state=succeeded&label=&cursor=")
    assert client.get("/jobs?label=team%3D").status_code == 200
    assert client.get("/v1/jobs?state=").status_code == 422


def test_every_error_of_a_query_string_is_listed(client: httpx.Client) -> None:
    text = client.get("/jobs?limit=0&state=sleeping").text
    assert re.findall(r"<li><code>(.*?)</code>", text) == ["?state", "?limit"]


@over_sqlite
@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "/jobs/a%2Fb", "/login/x", "/logout"])
def test_browsers_get_a_problem_page_for_unknown_paths(client: httpx.Client, path: str) -> None:
    status = 405 if path == "/logout" else 404
    response = client.get(path, headers=HTML)
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["Vary"] == "Accept"
    assert 'href="/jobs"' in response.text
    assert client.get(path).json()["status"] == status


def test_api_problems_are_documents(client: httpx.Client) -> None:
    for path in ("/v1/jobs/job_none", "/static/nothing.js"):
        assert client.get(path, headers=HTML).headers["content-type"] == "application/problem+json"


def test_a_job_shows_its_specification_and_its_result(client: httpx.Client, database: Database) -> None:
    job = create_job(database, name="shown", regularization={"dropout": {"rate": 0.25}})
    waiting = get_page(client, f"/jobs/{job}")
    assert "#1 in the queue" in waiting
    assert "the test images are used once" in waiting
    finish_job(database, job, result=result_record(test_accuracy=0.9375), epochs=2)
    text = get_page(client, f"/jobs/{job}")
    assert "93.75 %" in text
    assert "<dd>Dropout 0.25</dd>" in text
    command = unescape(re.findall(r'<pre id="curl"[^>]*>(.*?)</pre>', text, re.DOTALL)[0])
    assert command.startswith("curl -sS http://testserver/v1/jobs -H 'Content-Type")
    assert '"rate":0.25' in command
    assert '"epochs"' not in command or "test_accuracy" not in command
    assert "Confusion matrix" in text


def test_a_job_of_an_experiment_links_to_its_other_seeds_and_shows_their_range(
    client: httpx.Client, database: Database
) -> None:
    created = create(client, DOCUMENT | {"name": "ranges", "seeds": [1, 2, 3]})
    jobs_by_seed = {}
    for job in jobs_of_experiment(client, created):
        seed = job["spec"]["seed"]
        finish_job(database, job["id"], result=result_record(test_accuracy=0.90 + 0.01 * seed))
        if job["variant"] == "dropout":
            jobs_by_seed[seed] = job["id"]
    text = get_page(client, f"/jobs/{jobs_by_seed[2]}")
    assert f'<a href="/jobs/{jobs_by_seed[1]}" rel="prev">' in text
    assert f'<a href="/jobs/{jobs_by_seed[3]}" rel="next">' in text
    assert f'<a href="/experiments/{created["id"]}">ranges</a> / dropout / seed 2' in text
    assert "91.00 to 93.00 % over 3 seeds" in text
    assert 'rel="next"' not in get_page(client, f"/jobs/{jobs_by_seed[3]}")
    # No file of predictions was stored.
    assert client.get(f"/jobs/{jobs_by_seed[3]}/mistakes").json() == []


def test_a_failed_job_names_the_field_and_offers_to_edit_it(client: httpx.Client, database: Database) -> None:
    job = job_in(database, JobState.FAILED)
    with database.write() as session:
        row = jobs.get_job(session, job)
        row.error_message, row.error_retryable = (
            "The loss is infinite; lower training.optimizer.learning_rate.",
            False,
        )
    text = get_page(client, f"/jobs/{job}")
    assert "The field to change: <code>training.optimizer.learning_rate</code>" in text
    assert ">Retry<" not in text
    (link,) = re.findall(r'<a class="button primary" href="(/new\?[^"]*)">Edit and run again</a>', text)
    get_page(client, unescape(link))
    assert f'<a href="{link}">Edit and run again</a>' in get_page(client, "/jobs")
    query = parse_qs(urlsplit(unescape(link)).query)
    assert query["field"] == ["/training/optimizer/learning_rate"]
    assert client.post("/v1/jobs?dry_run=true", json=json.loads(query["spec"][0])).status_code == 200
    with database.write() as session:
        jobs.get_job(session, job).error_retryable = True
    assert ">Retry<" in get_page(client, f"/jobs/{job}")


def test_a_job_says_its_momentum_and_why_it_failed_in_words(client: httpx.Client, database: Database) -> None:
    sgd = {"optimizer": {"name": "sgd", "learning_rate": 10, "momentum": 0.9}}
    job = create_job(database, training=sgd)
    with database.write() as session:
        detail = {"code": "worker_crashed", "message": "Too fast.", "retry_in": 3}
        record_event(session, job, JobState.FAILED, attempt=1, detail=detail)
    text = get_page(client, f"/jobs/{job}")
    assert "sgd, learning rate 10, momentum 0.9" in text
    event = re.sub("<[^>]*>", "", text[text.index('id="events"') :])
    assert "failed worker crashed: Too fast. retry in: 3" in event
    assert ", momentum" not in get_page(client, f"/jobs/{create_job(database)}")


def test_a_failed_job_explains_its_missing_result(client: httpx.Client, database: Database) -> None:
    job = job_in(database, JobState.FAILED)
    with database.write() as session:
        # It failed within its first epoch, which the text does not count.
        jobs.get_job(session, job).fraction = 0.5
    text = get_page(client, f"/jobs/{job}")
    assert "No result: the job ended before its evaluation on the test images." in text
    assert "<progress" not in text
    assert "<span>epoch 0 of 1</span>" in text
    hidden = 'id="curves" hidden>'
    assert hidden in text
    with database.write() as session:
        row = jobs.get_job(session, job)
        row.epochs, row.epochs_done = 3, 1
    text = get_page(client, f"/jobs/{job}")
    assert "<span>epoch 1 of 3</span>" in text
    assert hidden not in text
    queued = get_page(client, f"/jobs/{create_job(database)}")
    assert hidden not in queued
    assert 'max="1" value="0.0" aria-label="Progress"' in queued


def test_a_comparison_shows_the_differences(client: httpx.Client, database: Database) -> None:
    ids = [finished_job(database, job_spec(seed=seed)).id for seed in (3, 4)]
    text = get_page(client, f"/compare?job={ids[0]}&job={ids[1]}")
    assert re.findall(r"<th scope=\"row\"><code>(.*?)</code>", text) == ["seed"]
    assert f"/v1/reports?job={ids[0]}&amp;job={ids[1]}&amp;format=html" in text
    assert find_compared_names(text) == ["none, seed 3", "none, seed 4"]
    named = finished_job(database, job_spec(name="dropout, seed 5", seed=5)).id
    assert find_compared_names(get_page(client, f"/compare?job={named}")) == ["dropout, seed 5"]
    assert client.get("/compare?" + "&".join(f"job=job_{n}" for n in range(11))).status_code == 422


def test_a_comparison_marks_the_best_and_warns_where_it_cannot(
    client: httpx.Client, database: Database
) -> None:
    def compare(*specs: JobSpec) -> str:
        measured = ((0.91, 9.81), (0.93, 9.84))
        ids = [
            finished_job(
                database, spec, result=result_record(test_accuracy=accuracy, training_seconds=seconds)
            ).id
            for spec, (accuracy, seconds) in zip(specs, measured, strict=True)
        ]
        return get_page(client, f"/compare?job={ids[0]}&job={ids[1]}")

    alike = compare(job_spec(), job_spec(regularization={"dropout": {}}))
    assert "<b>93.00 %</b>" in alike
    assert "notice" not in alike[alike.index("<h1>") :]
    assert "Test loss" not in alike, "it is the same"
    assert "Training time" not in alike, "it is written alike"
    assert "regularization.<wbr>dropout.<wbr>rate" in alike
    assert re.search("2 different <a [^>]*>seeds<", compare(job_spec(seed=1), job_spec(seed=2)))
    others = compare(job_spec(), job_spec(dataset={"train_samples": 500}))
    assert "different datasets or other settings of their images" in others
    assert "<b>93.00 %</b>" not in others


def find_compared_names(page: str) -> list[str]:
    """The names in the heads of the results, which the curves have too."""
    return re.findall(r'data-job="[^"]*">(.*?)</a>', page[page.index('id="results"') :])


def test_f8_compared_jobs_are_named_by_what_differs(client: httpx.Client, database: Database) -> None:
    specs = [
        job_spec(),
        job_spec(training={"epochs": 7}),
        job_spec(dataset={"train_samples": 500}),
        job_spec(name="run", regularization={"dropout": {}}),
        job_spec(name="run", regularization={"dropout": {"rate": 0.25}}),
        job_spec(name="again"),
        job_spec(name="again"),
        job_spec(seed=1),
    ]
    ids = [finished_job(database, spec).id for spec in specs]
    names = find_compared_names(get_page(client, "/compare?" + "&".join(f"job={job_id}" for job_id in ids)))
    epochs, samples = ("1 epoch", "all training examples")
    assert names == [
        f"none, seed 0, {samples}, {epochs}",
        f"none, seed 0, {samples}, 7 epochs",
        f"none, seed 0, 500 training examples, {epochs}",
        "run, seed 0, Dropout rate 0.5",
        "run, seed 0, Dropout rate 0.25",
        "again, seed 0 (1)",
        "again, seed 0 (2)",
        "none, seed 1",
    ]


def test_differences_of_specifications() -> None:
    specs = [{"a": {"b": 1, "c": {}}, "name": "x"}, {"a": {"b": 2, "c": {"d": 3}}, "name": "y"}]
    assert find_differences(specs) == [("a.b", ["1", "2"]), ("a.c.d", ["-", "3"])]


def test_every_technique_is_explained(client: httpx.Client) -> None:
    text = get_page(client, "/learn")
    for name, technique in CATALOGUE.items():
        assert f'href="/learn/{name}"' in text
        assert technique.about.title in unescape(get_page(client, f"/learn/{name}"))


@over_sqlite
def test_every_question_has_a_page_whose_experiment_can_be_run_and_whose_terms_are_explained(
    client: httpx.Client,
) -> None:
    learn, glossary = get_page(client, "/learn"), get_page(client, "/learn/glossary")
    pages = {f"/learn/questions/{slug}": question for slug, question in QUESTIONS.items()}
    assert len(pages) == 9
    assert "Nothing of this is measured here yet" in learn
    for path, question in pages.items():
        text = get_page(client, path)
        assert f'href="{path}"' in learn
        assert question.title in unescape(text)
        (form,) = re.findall(r'<form class="quick-experiment" data-document="(.*?)">', text)
        spec = ExperimentSpec.model_validate_json(unescape(form))
        assert [list(variant.changes.get("regularization", {})) for variant in spec.variants[1:]] == [
            [name] for name in question.techniques
        ]
        for term in re.findall(r'href="/learn/glossary#(.*?)"', text + learn):
            assert f'<div id="{term}">' in glossary
    for form in re.findall(r'<form class="quick-experiment" data-document="(.*?)">', learn):
        response = client.post("/v1/experiments?dry_run=true", json=json.loads(unescape(form)))
        assert response.status_code == 200, response.text
    assert client.get("/learn/questions/none").status_code == 404


@over_sqlite
def test_what_was_measured_here_is_on_the_pages_that_ask_for_it(
    client: httpx.Client, database: Database
) -> None:
    study = STUDIES[1].document | {"seeds": [0]}
    question = QUESTIONS["l1-and-l2"].quick_experiment | {"seeds": [0]}
    for document in (study, question):
        created = client.post("/v1/experiments", json=document).json()
        for job in client.get("/v1/jobs", params={"experiment": created["id"]}).json()["items"]:
            finish_job(database, job["id"])
    text = get_page(client, "/learn")
    assert "Overfitting by width, small" in text
    assert "Not measured here yet" in text
    text = get_page(client, "/learn/questions/l1-and-l2")
    assert 'data-variants="[&#34;none&#34;, &#34;l1&#34;, &#34;l2&#34;, &#34;proximal l1&#34;]"' in text


@over_sqlite
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_technique_can_be_run_small(client: httpx.Client, name: str) -> None:
    text = get_page(client, f"/learn/{name}")
    (form,) = re.findall(r'<form class="quick-experiment" data-document="(.*?)">', text)
    response = client.post("/v1/experiments?dry_run=true", json=json.loads(unescape(form)))
    assert (response.status_code, response.json()["jobs"]) == (200, 2 * FEWEST_PAIRS), response.text
    experiment = ExperimentSpec.model_validate_json(unescape(form))
    assert [list(job.regularization.active) for _, job in experiment.build_runs()[:2]] == [[], [name]]


def parse_outcomes(text: str) -> dict[str, list[str]]:
    """The accuracies and losses on a technique's page, by variant."""
    table = re.findall(r'<table id="outcomes">(.*?)</table>', text, re.DOTALL)
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', table[0], re.DOTALL) if table else []
    return {unescape(name): re.findall(r'<td class="number">(.*?)</td>', cells) for name, cells in rows}


def finish(client: httpx.Client, database: Database, experiment: dict[str, Any], skip: int = 0) -> None:
    for job in jobs_of_experiment(client, experiment)[skip:]:
        techniques = len(job["spec"]["regularization"])
        result = result_record(test_accuracy=0.90 + 0.05 * techniques, test_loss=0.5 - 0.1 * techniques)
        finish_job(database, job["id"], result=result)


def test_a_techniques_effect_comes_from_an_experiment(client: httpx.Client, database: Database) -> None:
    assert "No finished experiment here" in get_page(client, "/learn/dropout")
    experiment = create(client, DOCUMENT)
    finish(client, database, experiment, skip=1)
    text = get_page(client, "/learn/dropout")
    assert f'href="/experiments/{experiment["id"]}"' in text
    # One of the two seeds is incomplete, so only the other is shown.
    assert "with one seed" in text
    assert parse_outcomes(text) == {
        "none (without it)": ["90.00 %", "0.5000"],
        "dropout": ["95.00 %", "0.4000"],
    }
    drawn = re.findall(r'data-job="(\w+)"', text)
    assert drawn == [job["id"] for job in jobs_of_experiment(client, experiment) if job["spec"]["seed"] == 7]


@pytest.mark.parametrize(
    "changes",
    [
        {"regularization": {"dropout": {}, "l2": {}}},
        {"regularization": {"dropout": {}}, "model": {"hidden_units": [8]}},
    ],
)
def test_other_changes_exclude_a_variant_from_a_techniques_effect(
    client: httpx.Client, database: Database, changes: dict[str, Any]
) -> None:
    variants = [{"name": "none"}, {"name": "dropout and more", "changes": changes}]
    finish(client, database, create(client, DOCUMENT | {"variants": variants, "allow_confounders": True}))
    assert parse_outcomes(get_page(client, "/learn/dropout")) == {}


def test_a_regularized_baseline_excludes_an_experiment_from_the_effects(
    client: httpx.Client, database: Database
) -> None:
    variants = [
        {"name": "l2", "changes": {"regularization": {"l2": {}}}},
        {"name": "dropout", "changes": {"regularization": {"dropout": {}}}},
    ]
    finish(client, database, create(client, DOCUMENT | {"variants": variants}))
    assert parse_outcomes(get_page(client, "/learn/dropout")) == {}


def test_the_experiment_with_the_most_seeds_shows_a_technique(
    client: httpx.Client, database: Database
) -> None:
    larger = create(client, DOCUMENT | {"seeds": [1, 2, 3]})
    variants = [{"name": HOSTILE_NAME}, {"name": '"]<b>', "changes": {"regularization": {"dropout": {}}}}]
    newer = create(client, DOCUMENT | {"seeds": [4], "variants": variants})
    finish(client, database, newer)
    text = get_page(client, "/learn/dropout")
    assert f'href="/experiments/{newer["id"]}"' in text
    assert "<b>" not in text
    assert HOSTILE_NAME not in text
    finish(client, database, larger)
    assert "means over 3 seeds" in get_page(client, "/learn/dropout")


def test_the_overview_of_an_empty_installation_offers_questions(client: httpx.Client) -> None:
    text = get_page(client, "/")
    forms = re.findall(r'<form class="quick-experiment" data-document="(.*?)"', text)
    assert len(forms) == 4
    for document in map(unescape, forms):
        cost = client.post("/v1/experiments?dry_run=true", json=json.loads(document))
        assert cost.status_code == 200, cost.text
        assert f"{cost.json()['jobs']} jobs, about " in text
    assert "nothing has been trained here yet" in text
    assert "Latest answers" not in text
    assert client.get("/").json()["links"]["jobs"] == "/v1/jobs", "for programs"
    assert "Accept" in client.get("/", headers=HTML).headers["Vary"]


def test_the_overview_shows_what_runs_waits_failed_and_was_answered(
    client: httpx.Client, database: Database
) -> None:
    finish(client, database, create(client, DOCUMENT | {"name": "answered"}))
    create(client, DOCUMENT | {"name": "still running", "reuse": False})
    job_in(database, JobState.FAILED)
    with database.write() as session:
        announce_worker(session, "one", processes=2)
    text = get_page(client, "/")
    answered, running = text.index("answered</a>"), text.index("still running</a>")
    assert text.index("Latest answers") < answered < text.index("Running now") < running
    assert "1 worker for up to 2 jobs at once; 0 running" in text
    assert re.search(rf'<th scope="row">{LOCAL_OWNER}</th><td class="number">0</td>.*?>4</a>', text)
    assert "4 jobs succeeded in the last hour" in text
    assert "local: 1 job " in text
    assert client.get("/status").json() == {"processes": 2, "running": 0, "queued": 4, "is_all": True}


def test_jobs_are_searched_by_their_name_or_their_variants(client: httpx.Client, database: Database) -> None:
    job = create_job(database, name="Fast 100% one")
    create_job(database, name="slow")
    created = create(client, DOCUMENT)

    def search(text: str, **more: str) -> list[str]:
        items = client.get("/v1/jobs", params={"q": text, **more}).json()["items"]
        return [item["id"] for item in items]

    assert search("one FAST") == search("100%") == search("fast", sort="created_at") == [job]
    assert search("fast", state="queued") == [job]
    assert search("fast", sort="-test_accuracy") == search("100_") == []
    assert len(search("dropout", experiment=created["id"])) == len(DOCUMENT["seeds"])


class TestLogin:
    """Where keys are required."""

    @pytest.fixture
    def secured(self, database_settings: Settings) -> Iterator[TestClient]:
        strict = database_settings.model_copy(update={"api_keys_required": "true"})
        with TestClient(create_app(strict)) as client:
            yield client

    def test_without_a_key_a_page_redirects_to_the_login(self, secured: TestClient) -> None:
        response = secured.get("/jobs", headers=HTML, follow_redirects=False)
        assert (response.status_code, response.headers["Location"]) == (303, "/login?next=%2Fjobs")
        assert secured.get("/v1/jobs", headers=HTML).status_code == 401
        assert secured.get("/jobs").status_code == 401
        assert "API key" in secured.get("/login?next=/jobs").text

    def test_the_login_redirects_to_the_requested_address(
        self, secured: TestClient, database: Database
    ) -> None:
        requested = "/new?spec=%7B%22name%22%3A%22a%26b%22%7D&" + "x=%2F" * 1000
        form = secured.get(requested, headers=HTML).text
        hidden = unescape(re.findall(r'name="next" value="(.*?)"', form)[0])
        sent = {"key": make_key(database), "next": hidden}
        response = secured.post("/login", data=sent, follow_redirects=False)
        assert response.headers["Location"] == requested

    def test_rate_limit_errors_are_pages(self, database_settings: Settings, database: Database) -> None:
        settings = {"api_keys_required": "true", "max_reads_per_minute": 1}
        with TestClient(create_app(database_settings.model_copy(update=settings))) as client:
            headers = HTML | bearer(make_key(database))
            assert client.get("/jobs", headers=headers).status_code == 200
            response = client.get("/jobs", headers=headers)
            assert (response.status_code, response.headers["content-type"]) == (
                429,
                "text/html; charset=utf-8",
            )
            assert int(response.headers["Retry-After"]) > 0
            assert "try again in" in response.text

    def test_the_cookie_is_http_only(self, secured: TestClient, database: Database) -> None:
        key = make_key(database)
        response = secured.post("/login", data={"key": key, "next": "/learn"}, follow_redirects=False)
        assert (response.status_code, response.headers["Location"]) == (303, "/learn")
        assert re.search(r"HttpOnly.*SameSite=strict", response.headers["Set-Cookie"])
        assert secured.get("/jobs", headers=HTML, follow_redirects=False).status_code == 200
        assert secured.get("/v1/jobs").status_code == 200
        secured.post("/logout")
        assert secured.get("/v1/jobs").status_code == 401

    @pytest.mark.parametrize("path", ["/docs", "/login", "/problems/not_found"])
    def test_public_pages_say_who_is_logged_in(
        self, secured: TestClient, database: Database, path: str
    ) -> None:
        stranger = secured.get(path, headers=HTML).text
        assert ">Log out<" not in stranger
        secured.post("/login", data={"key": make_key(database, owner="ann")})
        page = secured.get(path, headers=HTML).text
        assert "You are <b>ann</b>, with a key" in page
        assert ">Log out<" in page
        assert 'href="/login"' not in page
        secured.cookies.clear()
        secured.cookies.set("regbench_session", SESSION_PREFIX + "x" * 43)
        assert secured.get(path, headers=HTML).text == stranger

    def test_d13_a_copied_cookie_has_no_access_after_logout(
        self, secured: TestClient, database: Database
    ) -> None:
        key = make_key(database)
        copies = []
        for _ in range(2):
            secured.cookies.clear()
            response = secured.post("/login", data={"key": key}, follow_redirects=False)
            assert key not in response.headers["Set-Cookie"]
            copies.append({"Cookie": response.headers["Set-Cookie"].partition(";")[0]})
            assert secured.get("/v1/jobs").status_code == 200
        secured.post("/logout")
        secured.cookies.clear()
        assert [secured.get("/v1/jobs", headers=copy).status_code for copy in copies] == [200, 401]
        token = copies[0]["Cookie"].partition("=")[2]
        assert secured.get("/v1/jobs", headers=bearer(token)).status_code == 401
        assert secured.get("/v1/jobs", headers=bearer(key)).status_code == 200

    def test_an_invalid_key_sets_no_cookie(self, secured: TestClient) -> None:
        for key in ("", "rb_" + "x" * 43, "\x00"):
            response = secured.post("/login", data={"key": key})
            assert response.status_code == 401
            assert "Set-Cookie" not in response.headers

    @pytest.mark.parametrize("url", ["https://evil.example/", "//evil.example", "/\\evil.example", "x"])
    def test_the_login_does_not_redirect_to_other_sites(
        self, secured: TestClient, database: Database, url: str
    ) -> None:
        sent = {"key": make_key(database), "next": url}
        assert secured.post("/login", data=sent, follow_redirects=False).headers["Location"] == "/"

    def test_another_site_cannot_use_the_cookie(self, secured: TestClient, database: Database) -> None:
        secured.post("/login", data={"key": make_key(database)})
        spec = job_spec().model_dump(mode="json")
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            response = secured.post("/v1/jobs", json=spec, headers=headers)
            assert response.json()["type"] == "/problems/cross_origin"
        assert secured.post("/login", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert secured.post("/logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert secured.post("/v1/jobs?dry_run=true", json=spec).status_code == 200

    def test_a_read_only_key_cannot_change_jobs(self, secured: TestClient, database: Database) -> None:
        job = create_job(database)
        secured.post("/login", data={"key": make_key(database, Scope.READ, owner=LOCAL_OWNER)})
        assert secured.get(f"/jobs/{job}").status_code == 200
        spec = job_spec().model_dump(mode="json")
        for path, body in (
            ("/v1/jobs", spec),
            ("/v1/jobs?dry_run=true", spec),
            (f"/v1/jobs/{job}/cancel", None),
        ):
            assert secured.post(path, json=body).json()["type"] == "/problems/insufficient_scope"

    def test_curl_commands_contain_the_key_header(self, secured: TestClient, database: Database) -> None:
        ours = bearer(make_key(database))
        header = '-H "Authorization: Bearer $REGBENCH_API_KEY"'
        job = secured.post("/v1/jobs", json=job_spec().model_dump(mode="json"), headers=ours).json()["id"]
        line = re.findall(r'<pre id="curl"[^>]*>(.*?)</pre>', secured.get(f"/jobs/{job}", headers=ours).text)[
            0
        ]
        assert header in unescape(line)
        for path in ("/v1/jobs", "/v1/experiments"):
            assert header in secured.post(f"/new/curl?path={path}", json={}, headers=ours).json()

    def test_the_overview_shows_an_owners_own_jobs_and_who_is_logged_in(
        self, secured: TestClient, database: Database
    ) -> None:
        assert secured.get("/", headers=HTML, follow_redirects=False).status_code == 303
        job_in(database, JobState.FAILED)
        theirs, admin = bearer(make_key(database, owner="theirs")), bearer(make_key(database, Scope.ADMIN))
        text = secured.get("/", headers=HTML | theirs).text
        assert "You are <b>theirs</b>, with a key of the scope <b>write</b>" in text
        assert "Failures in the last" not in text
        assert not secured.get("/status", headers=theirs).json()["is_all"]
        assert "local: 1 job " in secured.get("/", headers=HTML | admin).text

    def test_keys_are_shown_to_admins_and_webhooks_to_their_owner(
        self, secured: TestClient, database: Database
    ) -> None:
        ours, theirs = bearer(make_key(database)), bearer(make_key(database, owner="theirs"))
        admin, read = (bearer(make_key(database, scope)) for scope in (Scope.ADMIN, Scope.READ))
        assert secured.get("/keys", headers=ours).status_code == 403
        made = secured.post("/v1/keys", json={"name": "for <b>CI</b>", "scope": "read"}, headers=admin).json()
        text = secured.get("/keys", headers=admin).text
        assert f'data-post="/v1/keys/{made["id"]}/revoke"' in text
        assert "for &lt;b&gt;CI&lt;/b&gt;" in text
        assert made["key"] not in text
        secured.post(f"/v1/keys/{made['id']}/revoke", headers=admin)
        assert f"/v1/keys/{made['id']}/revoke" not in secured.get("/keys", headers=admin).text

        hook = secured.post("/v1/webhooks", json={"url": "https://example.org/x"}, headers=ours).json()
        secured.post(f"/v1/webhooks/{hook['id']}/test", headers=ours)
        text = secured.get("/webhooks", headers=ours).text
        assert f'data-post="/v1/webhooks/{hook["id"]}/test"' in text
        assert re.search(r"webhook\.test</th>.*?waiting.*?/redeliver", text, re.DOTALL)
        assert hook["secret"] not in text
        assert hook["url"] not in secured.get("/webhooks", headers=theirs).text
        text = secured.get("/webhooks", headers=read).text
        assert hook["url"] in text
        assert "data-post" not in text

    def test_other_owners_jobs_are_not_shown(self, secured: TestClient, database: Database) -> None:
        job = finished_job(database).id
        theirs = bearer(make_key(database, owner="theirs"))
        for path in (f"/jobs/{job}", f"/compare?job={job}", f"/try?left={job}"):
            assert secured.get(path, headers=theirs).status_code == 404
        for path in ("/jobs", "/try"):
            assert job not in secured.get(path, headers=theirs).text

    def test_a_techniques_effect_is_shown_to_its_owner_only(
        self, secured: TestClient, database: Database
    ) -> None:
        ours, theirs = (bearer(make_key(database, owner=owner)) for owner in ("ours", "theirs"))
        created = secured.post("/v1/experiments", json=DOCUMENT, headers=ours).json()
        jobs_of = secured.get(f"/v1/jobs?experiment={created['id']}", headers=ours).json()
        for job in jobs_of["items"]:
            finish_job(database, job["id"])
        assert created["id"] in secured.get("/learn/dropout", headers=ours).text
        assert created["id"] not in secured.get("/learn/dropout", headers=theirs).text
