"""GET /metrics, read back with Prometheus's own parser."""

import json
import logging
import time
from datetime import timedelta
from importlib.metadata import version

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event

from api.app import create_app
from models.logs import LogFormat, configure_logging, log_context
from models.settings import Settings
from models.states import JobState
from models.store import counters, jobs, queue
from models.store.database import Database
from models.store.rescue import rescue_abandoned
from models.store.workers import announce_worker
from tests.factories import finished_job, job_spec, result_record
from tests.integration.api.conftest import TestClient

Sample = tuple[str, tuple[str, ...]]


def scraped(client: httpx.Client) -> dict[Sample, float]:
    """Every sample, by its name and the values of its labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_a_new_installation_shows_every_metric(client: httpx.Client) -> None:
    samples = scraped(client)
    assert samples.pop(("regbench_artifacts_free_bytes", ())) > 0
    own = ("regbench_http_", "regbench_streams", "regbench_database_", "process_")
    assert {name: value for name, value in samples.items() if not name[0].startswith(own)} == {
        **{("regbench_ready", (check,)): 1 for check in ("database", "migrations", "broker")},
        ("regbench_ready", ("worker",)): 0,
        ("regbench_oldest_queued_seconds", ()): 0,
        ("regbench_workers", ()): 0,
        ("regbench_worker_processes", ()): 0,
        ("regbench_webhook_backlog", ()): 0,
        ("regbench_failures_total", ("worker_crashed",)): 0,
        ("regbench_retries_total", ()): 0,
        ("regbench_lease_expiries_total", ()): 0,
        ("regbench_process_deaths_total", ()): 0,
        ("regbench_webhook_deliveries_total", ()): 0,
        ("regbench_webhook_failures_total", ()): 0,
        **{("regbench_jobs", (str(state),)): 0 for state in JobState},
        ("regbench_compilations_total", ()): 0,
        ("regbench_compile_seconds_total", ()): 0,
        ("regbench_trainings_total", ()): 0,
        ("regbench_epochs_total", ()): 0,
        ("regbench_training_seconds_total", ()): 0,
        ("regbench_info", (version("regbench"),)): 1,
    }


def test_jobs_are_counted_by_state_and_counters_shown(client: httpx.Client, database: Database) -> None:
    finished_job(database, result=result_record(compilations=3, compile_seconds=1.0))
    with database.write() as session:
        jobs.create_jobs(session, [jobs.NewJob(job_spec(seed=seed)) for seed in range(2)])
        counters.add(session, compilations=2, compile_seconds=1.5)
    samples = scraped(client)
    assert samples["regbench_jobs", ("queued",)] == 2
    assert samples["regbench_jobs", ("succeeded",)] == 1
    assert samples["regbench_jobs", ("failed",)] == 0
    assert samples["regbench_compilations_total", ()] == 5
    assert samples["regbench_compile_seconds_total", ()] == 2.5
    assert samples["regbench_trainings_total", ()] == 1


def test_c6_failures_rescues_and_the_age_of_the_queue_are_reported(
    client: httpx.Client, database: Database
) -> None:
    with database.write() as session:
        lost, failed, waiting = jobs.create_jobs(session, [jobs.NewJob(job_spec())] * 3)
        queue.claim(session, lost.id, owner="w:1/2", lease_seconds=-1)
        claimed = queue.claim(session, failed.id, owner="w:1/3", lease_seconds=30)
        assert claimed is not None
        queue.fail(session, failed.id, claimed.attempt, code="diverged", message="NaN", retryable=False)
        rescue_abandoned(session)
        waiting.created_at -= timedelta(minutes=5)
        announce_worker(session, "w:1", processes=2)
        announce_worker(session, "w:1", processes=3)
        announce_worker(session, "w:2", processes=2)
    assert client.post(f"/v1/jobs/{failed.id}/retry").is_success
    samples = scraped(client)
    assert samples["regbench_failures_total", ("diverged",)] == 1
    assert samples["regbench_failures_total", ("worker_crashed",)] == 0
    assert samples["regbench_lease_expiries_total", ()] == 1
    assert samples["regbench_retries_total", ()] == 1
    assert 300 <= samples["regbench_oldest_queued_seconds", ()] < 400
    assert (samples["regbench_workers", ()], samples["regbench_worker_processes", ()]) == (2, 5)


def test_c6_requests_are_counted_by_route_and_status(client: httpx.Client) -> None:
    key = ("regbench_http_request_seconds_count", ("GET", "/v1/jobs/{job_id}", "404"))
    before = scraped(client).get(key, 0.0)
    client.get("/v1/jobs/job_none")
    client.get("/v1/nothing/here")
    samples = scraped(client)
    assert samples[key] == before + 1
    assert samples["regbench_http_request_seconds_count", ("GET", "unmatched", "404")] >= 1


def test_c6_a_4xx_and_a_job_are_found_in_the_log_by_the_request_id(
    client: httpx.Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client.get("/v1/jobs/job_none", headers={"X-Request-Id": "find-me-please"})
    assert "request find-me-please: GET '/v1/jobs/job_none' was answered with 404" in caplog.text
    body = job_spec().model_dump(mode="json")
    job_id = client.post("/v1/jobs", json=body, headers={"X-Request-Id": "the-post"}).json()["id"]
    with database.read() as session:
        assert jobs.get_job(session, job_id).request_id == "the-post"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_c6_every_line_has_the_fields_of_its_context(
    log_format: LogFormat, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    access = logging.getLogger("uvicorn.access")
    monkeypatch.setattr(access, "propagate", False)
    configure_logging(log_format)
    assert not access.propagate, "--no-access-log holds"
    with log_context(request_id="r1", job_id="job_1", owner=None):
        logging.getLogger("worker.runner").warning("it\nfailed: %d", 7)
    line = capsys.readouterr().err
    if log_format == "text":
        assert line.endswith("Z WARNING worker.runner [request_id=r1 job_id=job_1] it\nfailed: 7\n")
        return
    document = json.loads(line)
    assert document.pop("timestamp").endswith("Z")
    assert document == {
        "level": "WARNING",
        "logger": "worker.runner",
        "message": "it\nfailed: 7",
        "request_id": "r1",
        "job_id": "job_1",
    }


def test_a_scrape_is_five_queries_however_many_jobs_there_are(database_settings: Settings) -> None:
    app = create_app(database_settings)
    statements: list[str] = []

    @event.listens_for(app.state.database.engine, "before_cursor_execute")
    def _note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    with TestClient(app) as client:
        finished_job(app.state.database)
        client.get("/metrics")  # the first one opens the connection
        statements.clear()
        client.get("/metrics")
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 5


def test_an_unavailable_database_is_a_problem(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": f"sqlite:///{settings.home}/no/such/folder.db"})
    with TestClient(create_app(away)) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/service_unavailable"


def test_many_jobs_are_counted_beside_the_requests(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.metrics._MANY_JOBS", 1)
    succeeded = ("regbench_jobs", ("succeeded",))
    finished_job(database)
    assert scraped(client)[succeeded] == 1
    finished_job(database)
    deadline = time.monotonic() + 60
    while scraped(client)[succeeded] == 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert scraped(client)[succeeded] == 2
