"""Following a job: tags and 304, waiting, when to ask again, and streams over a real socket."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn

from models.records import Progress
from models.scopes import Scope
from models.settings import Settings
from models.states import JobState
from models.store import jobs, keys, queue
from models.store.database import Database
from tests.applications import application
from tests.factories import epoch_record, finished_job, job_in, result_record

STREAM = {"Accept": "text/event-stream"}


@dataclass
class Served:
    """The API on a port of its own."""

    url: str
    updates: Any
    server: uvicorn.Server

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20)


@contextmanager
def serve(settings: Settings) -> Iterator[Served]:
    app = application(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", app.state.job_updates, server)
    finally:
        app.state.job_updates.stop()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def served(database_settings: Settings, database: Database) -> Iterator[Served]:
    with serve(database_settings.model_copy(update={"stream_seconds": 0.05, "max_streams": 20})) as served:
        yield served


@dataclass(frozen=True)
class Message:
    """One server-sent event."""

    event: str
    data: Any
    id: str | None


def messages(answer: httpx.Response) -> Iterator[Message]:
    """A stream's events as a standard client parses them."""
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield Message(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}
        else:
            fields = {}


def follow(client: httpx.Client, job_id: str, last: str | None = None) -> list[Message]:
    """A whole stream."""
    headers = STREAM | ({"Last-Event-ID": last} if last else {})
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        return list(messages(answer))


def train(database: Database, job_id: str, epoch: int) -> None:
    with database.write() as session:
        queue.renew(session, job_id, 1, lease_seconds=30, progress=Progress(epoch, epoch / 3, 3.0 - epoch))
        queue.record_epoch(session, job_id, 1, epoch_record(epoch))


def end(database: Database, job_id: str) -> None:
    with database.write() as session:
        queue.succeed(session, job_id, 1, result_record())


def test_a_stream_of_an_ended_job_sends_everything_and_ends(served: Served, database: Database) -> None:
    job_id = finished_job(database, epochs=3).id
    with served.client() as client:
        received = follow(client, job_id)
        events = client.get(f"/v1/jobs/{job_id}/events").json()["items"]
        epochs = client.get(f"/v1/jobs/{job_id}/epochs").json()["items"]
    kinds = ["change", "change", "epoch", "epoch", "epoch", "progress", "change", "end"]
    assert [message.event for message in received] == kinds
    assert [message.data for message in received if message.event == "change"] == events
    assert [message.data for message in received if message.event == "epoch"] == epochs
    assert received[-1].data == {"state": "succeeded"}
    assert received[5].data["fraction"] == 1.0


def test_a_reconnecting_client_misses_and_repeats_no_event(served: Served, database: Database) -> None:
    job_id = finished_job(database, epochs=3).id
    with served.client() as client:
        received = [event for event in follow(client, job_id) if event.event in ("change", "epoch")]
        assert len(received) == 6
        for number, last in enumerate(received[:-1]):
            rest = follow(client, job_id, last.id)
            assert [event for event in rest if event.event in ("change", "epoch")] == received[number + 1 :]


def test_a_client_that_has_everything_gets_204(served: Served, database: Database) -> None:
    job_id = finished_job(database, epochs=1).id
    with served.client() as client:
        last = follow(client, job_id)[-1].id
        assert last is not None
        answer = client.get(f"/v1/jobs/{job_id}/events", headers=STREAM | {"Last-Event-ID": last})
    assert answer.status_code == 204


def test_a_stream_sends_changes_as_they_happen(served: Served, database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    with (
        served.client() as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM) as answer,
    ):
        received = messages(answer)
        assert [next(received).data["to_state"] for _ in range(2)] == ["queued", "running"]
        assert next(received).event == "progress"
        train(database, job_id, 1)
        assert (next(received).data["epoch"], next(received).data["epoch"]) == (1, 1)
        end(database, job_id)
        assert [message.event for message in received] == ["progress", "change", "end"]
    deadline = time.monotonic() + 10
    while len(served.updates) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(served.updates) == 0


def test_retrained_epochs_are_sent_once(served: Served, database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    train(database, job_id, 1)
    with (
        served.client() as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM) as answer,
    ):
        received = messages(answer)
        seen = [next(received) for _ in range(4)]
        assert [message.event for message in seen] == ["change", "change", "epoch", "progress"]
        with database.write() as session:
            queue.stop(session, job_id, 1)
        assert [next(received).event for _ in range(2)] == ["change", "progress"]
        with database.write() as session:
            queue.claim(session, job_id, owner="other", lease_seconds=30)
            for epoch in (1, 2):
                progress = Progress(epoch, epoch / 3, 1.0)
                queue.renew(session, job_id, 2, lease_seconds=30, progress=progress)
                queue.record_epoch(session, job_id, 2, epoch_record(epoch))
            queue.succeed(session, job_id, 2, result_record())
        rest = list(received)
    assert [message.data["epoch"] for message in rest if message.event == "epoch"] == [2]


def test_closed_streams_leave_no_subscription(served: Served, database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    for _ in range(5):
        with served.client() as client:
            for _ in range(6):
                with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM) as answer:
                    assert next(messages(answer)).event == "change"
    deadline = time.monotonic() + 10
    while len(served.updates) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(served.updates) == 0


def test_too_many_streams_are_refused_and_polling_goes_on(
    database_settings: Settings, database: Database
) -> None:
    job_id = job_in(database, JobState.RUNNING)
    here = f"/v1/jobs/{job_id}"
    settings = database_settings.model_copy(update={"max_streams": 1})
    with (
        serve(settings) as served,
        served.client() as client,
        client.stream("GET", f"{here}/events", headers=STREAM) as answer,
    ):
        received = messages(answer)
        next(received)
        refused = client.get(f"{here}/events", headers=STREAM)
        assert refused.status_code == 503
        assert refused.json()["type"] == "/problems/too_many_streams"
        assert refused.headers["Retry-After"]
        begun = time.monotonic()
        assert client.get(here, headers={"Prefer": "wait=10"}).status_code == 200
        assert time.monotonic() - begun < 5


def test_d12_one_owner_cannot_take_all_streams(database_settings: Settings, database: Database) -> None:
    with database.write() as session:
        keys_of = {
            owner: keys.create_key(session, name="test", owner=owner, scope=Scope.READ)[1] for owner in "ab"
        }
    paths = {}
    for owner in "ab":
        job_id = job_in(database, JobState.RUNNING)
        with database.write() as session:
            jobs.get_job(session, job_id).owner = owner
        paths[owner] = f"/v1/jobs/{job_id}"
    changes = {"api_keys_required": "true", "max_streams": 4, "max_streams_per_owner": 2}
    with serve(database_settings.model_copy(update=changes)) as served, ExitStack() as streams:
        client = streams.enter_context(served.client())

        def get(owner: str, path: str, **headers: str) -> httpx.Response:
            request = client.build_request(
                "GET", paths[owner] + path, headers={"Authorization": f"Bearer {keys_of[owner]}", **headers}
            )
            response = client.send(request, stream=True)
            streams.callback(response.close)
            return response

        statuses = [get("a", "/events", **STREAM).status_code for _ in range(3)]
        assert statuses == [200, 200, 503]
        assert get("b", "/events", **STREAM).status_code == 200
        for owner, waits in (("a", False), ("b", True)):
            begun = time.monotonic()
            assert get(owner, "", Prefer="wait=1").status_code == 200
            assert (time.monotonic() - begun > 0.9) is waits


def test_open_streams_end_when_the_service_does(database_settings: Settings, database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    with serve(database_settings) as served, served.client() as client:
        with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM) as answer:
            received = messages(answer)
            next(received)
            served.updates.stop()
            assert {message.event for message in received} <= {"change", "progress"}
        assert client.get(f"/v1/jobs/{job_id}/events", headers=STREAM).status_code == 503


def test_invalid_event_ids_and_unknown_jobs_are_refused(client: httpx.Client, database: Database) -> None:
    job_id = job_in(database, JobState.QUEUED)
    here = f"/v1/jobs/{job_id}/events"
    for strange in ("x", "1", "-1.0", "1.x", "9" * 40 + ".0"):
        answer = client.get(here, headers=STREAM | {"Last-Event-ID": strange})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "header Last-Event-ID")
    assert client.get("/v1/jobs/job_none/events", headers=STREAM).status_code == 404
    assert client.get(here, headers={"Accept": "image/png"}).status_code == 406


def test_an_unchanged_job_is_not_sent_again(client: httpx.Client, database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    here = f"/v1/jobs/{job_id}"
    tag = client.get(here).headers["ETag"]
    for condition in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
        same = client.get(here, headers={"If-None-Match": condition})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
        assert same.headers["Retry-After"]
    assert client.get(here, headers={"If-None-Match": '"other"'}).status_code == 200
    tags = {tag}
    for change in (
        lambda: train(database, job_id, 1),
        lambda: client.post(f"{here}/pause"),
        lambda: client.post(f"{here}/resume"),
        lambda: end(database, job_id),
    ):
        change()
        changed = client.get(here, headers={"If-None-Match": tag})
        assert changed.status_code == 200
        tag = changed.headers["ETag"]
        assert tag not in tags
        tags.add(tag)
    assert "Retry-After" not in client.get(here, headers={"If-None-Match": tag}).headers


def test_the_tag_changes_with_the_queue_position(client: httpx.Client, database: Database) -> None:
    first, second = job_in(database, JobState.QUEUED), job_in(database, JobState.QUEUED)
    tag = client.get(f"/v1/jobs/{second}").headers["ETag"]
    client.post(f"/v1/jobs/{first}/cancel")
    moved = client.get(f"/v1/jobs/{second}", headers={"If-None-Match": tag})
    assert (moved.status_code, moved.json()["queue_position"]) == (200, 1)


def test_the_tag_of_a_retry_changes_when_the_original_is_deleted(
    client: httpx.Client, database: Database
) -> None:
    failed = job_in(database, JobState.FAILED)
    retry = client.post(f"/v1/jobs/{failed}/retry").json()["links"]["self"]
    tag = client.get(retry).headers["ETag"]
    client.delete(f"/v1/jobs/{failed}")
    changed = client.get(retry, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["retry_of"]) == (200, None)


def test_the_history_has_a_tag_for_each_format(client: httpx.Client, database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    here = f"/v1/jobs/{job_id}/epochs"
    train(database, job_id, 1)
    tag = client.get(here).headers["ETag"]
    assert client.get(here, headers={"If-None-Match": tag}).status_code == 304
    as_csv = client.get(here, headers={"If-None-Match": tag, "Accept": "text/csv"})
    assert (as_csv.status_code, as_csv.headers["Vary"]) == (200, "Accept")
    train(database, job_id, 2)
    assert len(client.get(here, headers={"If-None-Match": tag}).json()["items"]) == 2


def test_an_experiment_has_a_tag(client: httpx.Client, database: Database) -> None:
    document = {
        "name": "x",
        "base": {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 3}},
        "variants": [{"name": "a"}],
        "seeds": [0],
    }
    here = client.post("/v1/experiments", json=document).json()["links"]["self"]
    first = client.get(here)
    assert client.get(here, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    [job] = client.get(f"/v1/jobs?experiment={here.rpartition('/')[2]}").json()["items"]
    with database.write() as session:
        queue.claim(session, job["id"], owner="test", lease_seconds=30)
    train(database, job["id"], 1)
    changed = client.get(here, headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status_code, changed.json()["progress"]["percent"]) == (200, 33.3)
    assert changed.headers["Retry-After"]


@pytest.mark.parametrize(
    ("state", "eta", "expected"),
    [("queued", None, "1"), ("running", 45.0, "5"), ("running", 9_000.0, "30"), ("paused", None, "30")],
)
def test_retry_after_depends_on_the_state(
    client: httpx.Client, database: Database, state: str, eta: float | None, expected: str
) -> None:
    job_id = job_in(database, JobState(state))
    if eta is not None:
        with database.write() as session:
            queue.renew(session, job_id, 1, lease_seconds=30, progress=Progress(0, 0.1, eta))
    assert client.get(f"/v1/jobs/{job_id}").headers["Retry-After"] == expected


class TestWait:
    """`Prefer: wait=N`."""

    def test_waiting_ends_when_the_epoch_changes(self, served: Served, database: Database) -> None:
        job_id = job_in(database, JobState.RUNNING)
        with served.client() as client:
            tag = client.get(f"/v1/jobs/{job_id}").headers["ETag"]
            timer = threading.Timer(0.3, train, (database, job_id, 1))
            timer.start()
            begun = time.monotonic()
            headers = {"Prefer": "respond-async, wait=20", "If-None-Match": tag}
            answer = client.get(f"/v1/jobs/{job_id}", headers=headers)
            timer.join()
        assert 0.2 < time.monotonic() - begun < 10
        assert answer.headers["Preference-Applied"] == "wait=20"
        assert answer.json()["progress"]["epoch"] == 1

    def test_progress_within_an_epoch_does_not_end_waiting(
        self, client: httpx.Client, database: Database
    ) -> None:
        job_id = job_in(database, JobState.RUNNING)
        tag = client.get(f"/v1/jobs/{job_id}").headers["ETag"]
        with database.write() as session:
            queue.renew(session, job_id, 1, lease_seconds=30, progress=Progress(0, 0.1, 9.0))
        begun = time.monotonic()
        answer = client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=1", "If-None-Match": tag})
        assert time.monotonic() - begun > 0.9
        assert (answer.status_code, answer.json()["progress"]["fraction"]) == (200, 0.1)

    def test_a_job_that_has_already_changed_is_returned_immediately(
        self, client: httpx.Client, database: Database
    ) -> None:
        job_id = job_in(database, JobState.RUNNING)
        tag = client.get(f"/v1/jobs/{job_id}").headers["ETag"]
        train(database, job_id, 1)
        begun = time.monotonic()
        answer = client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=20", "If-None-Match": tag})
        assert answer.status_code == 200
        assert time.monotonic() - begun < 5

    def test_an_ended_job_is_returned_immediately(self, client: httpx.Client, database: Database) -> None:
        job_id = finished_job(database).id
        begun = time.monotonic()
        answer = client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=999"})
        assert time.monotonic() - begun < 5
        assert answer.headers["Preference-Applied"] == "wait=30"

    def test_an_invalid_wait_preference_is_ignored(self, client: httpx.Client, database: Database) -> None:
        job_id = job_in(database, JobState.QUEUED)
        for prefer in ("wait=soon", "wait=-1", "respond-async", ""):
            answer = client.get(f"/v1/jobs/{job_id}", headers={"Prefer": prefer})
            assert (answer.status_code, "Preference-Applied" in answer.headers) == (200, False)
        assert client.get("/v1/jobs/job_none", headers={"Prefer": "wait=9"}).status_code == 404
