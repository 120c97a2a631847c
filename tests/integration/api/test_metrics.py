"""GET /metrics, read back with Prometheus's own parser."""

from importlib.metadata import version

import httpx
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event

from api.app import create_app
from models.settings import Settings
from models.states import JobState
from models.store import counters, jobs
from models.store.database import Database
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
    assert scraped(client) == {
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


def test_a_scrape_is_two_queries_however_many_jobs_there_are(database_settings: Settings) -> None:
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
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 2


def test_an_unavailable_database_is_a_problem(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": f"sqlite:///{settings.home}/no/such/folder.db"})
    with TestClient(create_app(away)) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/service_unavailable"
