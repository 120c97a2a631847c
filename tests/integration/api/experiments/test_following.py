"""Following an experiment: long polls, and a stream over a real socket."""

import threading
import time
from collections.abc import Iterator

import pytest

from models.settings import Settings
from models.store import jobs
from models.store.database import Database
from tests.factories import finish_job, result_record
from tests.integration.api.experiments.test_routes import DOCUMENT, create, jobs_of
from tests.integration.api.jobs.test_following import STREAM, Served, messages, serve


@pytest.fixture
def served(database_settings: Settings, database: Database) -> Iterator[Served]:
    with serve(database_settings.model_copy(update={"stream_seconds": 0.05})) as served:
        yield served


def test_a_stream_reports_progress_until_the_end(served: Served, database: Database) -> None:
    with served.client() as client:
        experiment = create(client, DOCUMENT)
        links, runs = experiment["links"], jobs_of(client, experiment)
        counts = []
        with client.stream("GET", links["events"], headers=STREAM) as answer:
            for message in messages(answer):
                if message.event == "end":
                    end = message
                    break
                counts.append(message.data["counts"])
                assert message.data["total"] == 4
                if runs:
                    finish_job(database, runs.pop()["id"], result=result_record())
        assert counts[0]["queued"] == 4
        assert counts[-1]["succeeded"] == 4
        finished = client.get(links["self"]).json()
        assert end.data == {"headline": finished["headline"], "report": links["report"]}
        seen = {"Last-Event-ID": str(end.id)}
        assert client.get(links["events"], headers=STREAM | seen).status_code == 204
        assert client.get(links["events"], headers={"Accept": "text/html"}).status_code == 406
        assert client.get("/v1/experiments/exp_none/events", headers=STREAM).status_code == 404


def test_a_long_poll_ends_when_a_job_changes_its_state(served: Served, database: Database) -> None:
    with served.client() as client:
        experiment = create(client, DOCUMENT)
        here, runs = experiment["links"]["self"], jobs_of(client, experiment)
        tag = client.get(here).headers["ETag"]

        def cancel() -> None:
            with database.write() as session:
                jobs.cancel_job(session, runs[0]["id"])

        timer = threading.Timer(0.3, cancel)
        timer.start()
        started = time.monotonic()
        answer = client.get(here, headers={"Prefer": "wait=15", "If-None-Match": tag})
        timer.join()
        assert 0.25 < time.monotonic() - started < 10
        assert answer.headers["Preference-Applied"] == "wait=15"
        assert answer.json()["progress"]["counts"]["cancelled"] == 1
        # A version from before the change is answered at once.
        assert client.get(here, headers={"Prefer": "wait=15", "If-None-Match": tag}).status_code == 200
        again = client.get(here, headers={"Prefer": "wait=1", "If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
        assert time.monotonic() - started < 14
