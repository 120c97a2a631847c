"""Webhooks are notified of a job's end: signed, retried after a failure, and never at a private address."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook as Verifier

from models.encryption import encrypt_secret
from models.experiments import ExperimentSpec, Variant
from models.settings import Settings
from models.states import JobState
from models.store import jobs, webhooks
from models.store.database import Database
from models.store.experiment_runs import retry_failed
from models.store.experiments import create_experiment, delete_experiment, lock_experiment
from models.store.jobs import NewJob
from models.store.sql_functions import DatabaseNow
from models.store.tables import LOCAL_OWNER, Delivery, Webhook
from models.store.transitions import get_database_now
from models.store.webhooks import announce_finished_experiments
from tests.factories import finish_job, finished_job, job_spec
from worker import webhook_sender
from worker.webhook_sender import WebhookSender, is_public

KEYS = "c" * 32
"""With which secrets may be encrypted; most are stored as they are."""


class Receiver:
    """A real HTTP server that records requests and sends the configured responses."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], str]] = []
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.released = threading.Event()  # it sends no response until this is set
        self.released.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                receiver.got.append((dict(self.headers), self.rfile.read(length).decode()))
                receiver.released.wait(20)
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from serve()


@pytest.fixture
def slow_receiver() -> Iterator[Receiver]:
    """A receiver that answers only once a test has ended."""
    for receiver in serve():
        receiver.released.clear()
        yield receiver


def serve() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,))
    thread.start()
    yield receiver
    receiver.released.set()
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


@pytest.fixture
def sender(database_settings: Settings) -> Iterator[WebhookSender]:
    settings = {"webhook_private_addresses": True, "sweep_seconds": 0.1, "encryption_keys": KEYS}
    sender = WebhookSender(database_settings.model_copy(update=settings))
    yield sender
    sender.stop()
    if sender._thread.is_alive():
        sender._thread.join()
    sender._threads.shutdown()  # or they would write into the next test's database


def add_webhook(
    database: Database, url: str, states: list[JobState] | None = None, owner: str = LOCAL_OWNER
) -> str:
    """A webhook's secret."""
    with database.write() as session:
        ends = states or [state for state in JobState if state.terminal]
        return webhooks.create_webhook(session, owner, url=url, states=ends, secret=None).secret


def deliveries(database: Database) -> list[Delivery]:
    with database.read() as session:
        return list(session.scalars(select(Delivery)))


def send_due(sender: WebhookSender) -> int:
    """Send all that is due and wait for it; returns how many messages that were."""
    count = 0
    while started := sender._start_due():
        count += started
        wait(sender._sending)
    return count


def make_due(database: Database) -> None:
    with database.write() as session:
        session.execute(
            update(Delivery)
            .where(Delivery.next_attempt_at.is_not(None))
            .values(next_attempt_at=DatabaseNow(-1))
            .execution_options(synchronize_session=False)
        )


def test_a_webhook_is_sent_once_and_signed(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    secret = add_webhook(database, receiver.url)
    job = finished_job(database, job_spec(name="mine", labels={"a": "b"}))
    assert send_due(sender) == 1
    assert send_due(sender) == 0
    [(headers, text)] = receiver.got
    message = Verifier(secret).verify(text, headers)
    assert message["type"] == "job.succeeded"
    assert message["data"]["id"] == job.id
    assert message["data"]["labels"] == {"a": "b"}
    assert message["data"]["result"]["test_accuracy"] == pytest.approx(0.975)
    [sent] = deliveries(database)
    assert (sent.attempts, sent.last_status, sent.next_attempt_at) == (1, 204, None)
    assert sent.delivered_at is not None
    assert headers["webhook-id"] == sent.id


def test_a_finished_experiment_is_announced_each_time_it_finishes(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url, [JobState.FAILED])
    with database.write() as session:
        session.execute(update(Webhook).values(experiments=True, base_url="https://regbench.example"))
    spec = ExperimentSpec(name="mine", base=job_spec(), variants=(Variant(name="none"),), seeds=(0, 1))
    with database.write() as session:
        experiment, runs = create_experiment(session, spec, preset=None)
    finish_job(database, runs[0].id)
    assert announce(database) == 0
    with database.write() as session:
        jobs.cancel_job(session, runs[1].id)
    # Several workers sweep at the same time.
    assert [announce(database), announce(database)] == [1, 0]
    assert send_due(sender) == 1
    message = json.loads(receiver.got[0][1])
    assert message["type"] == "experiment.finished"
    here = f"https://regbench.example/v1/experiments/{experiment.id}"
    assert message["data"] == {
        "id": experiment.id,
        "name": "mine",
        "labels": {},
        "counts": {"succeeded": 1, "cancelled": 1},
        "links": {
            "self": here,
            "report": f"{here}/report",
            "page": f"https://regbench.example/experiments/{experiment.id}",
        },
    }
    with database.write() as session:
        (retry,) = retry_failed(session, lock_experiment(session, experiment.id))
    assert announce(database) == 0
    finish_job(database, retry.id)
    assert announce(database) == 1
    with database.write() as session:
        delete_experiment(session, lock_experiment(session, experiment.id), keep_jobs=False)
    assert deliveries(database) == []


def announce(database: Database) -> int:
    with database.write() as session:
        return announce_finished_experiments(session)


def test_webhooks_receive_only_their_owners_jobs_in_subscribed_states(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url, [JobState.FAILED])
    add_webhook(database, receiver.url, owner="somebody-else")
    finished_job(database)
    assert send_due(sender) == 0
    add_webhook(database, receiver.url, [JobState.CANCELLED])
    with database.write() as session:
        (job,) = jobs.create_jobs(session, [NewJob(job_spec())])
        jobs.cancel_job(session, job.id)
    assert send_due(sender) == 1
    assert json.loads(receiver.got[0][1])["type"] == "job.cancelled"


def test_a_failed_delivery_is_retried_with_the_same_id_and_then_abandoned(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url)
    finished_job(database)
    attempts = len(webhooks.RETRY_AFTER_SECONDS) + 1
    receiver.answers = [500] * attempts
    for _ in range(attempts):
        assert send_due(sender) == 1
        assert send_due(sender) == 0, "not before its time"
        make_due(database)
    assert send_due(sender) == 0
    [sent] = deliveries(database)
    assert (sent.attempts, sent.last_status, sent.delivered_at) == (attempts, 500, None)
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {sent.id}


def test_a_410_response_deletes_the_webhook(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url)
    finished_job(database)
    receiver.answers = [410]
    assert send_due(sender) == 1
    assert deliveries(database) == []
    with database.read() as session:
        assert webhooks.get_all_webhooks(session) == []


def test_a_redirection_is_not_followed(database: Database, sender: WebhookSender, receiver: Receiver) -> None:
    add_webhook(database, receiver.url)
    finished_job(database)
    receiver.answers = [302]
    send_due(sender)
    assert (len(receiver.got), deliveries(database)[0].last_status) == (1, 302)


def test_a_delivery_whose_sender_died_is_sent_again(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url)
    finished_job(database)
    with database.write() as session:
        assert len(webhooks.claim_due_deliveries(session, limit=9)) == 1
    assert send_due(sender) == 0, "another sender may be sending it"
    make_due(database)
    assert send_due(sender) == 1
    assert len(receiver.got) == 1


@pytest.mark.parametrize("url", ["https://a..example/", f"https://{'x' * 70}/", "https://xn--/"])
def test_an_unreachable_address_does_not_block_other_deliveries(
    database: Database, sender: WebhookSender, receiver: Receiver, url: str
) -> None:
    add_webhook(database, url)
    add_webhook(database, receiver.url)
    finished_job(database)
    assert send_due(sender) == 2
    assert len(receiver.got) == 1
    assert sorted(bool(delivery.delivered_at) for delivery in deliveries(database)) == [False, True]


def test_a_receiver_that_responds_slowly_times_out(
    database: Database, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "_SEND_SECONDS", 0.5)
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while not stopped.wait(0.05):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        add_webhook(database, f"http://127.0.0.1:{server.getsockname()[1]}/")
        finished_job(database)
        assert send_due(sender) == 1
        stopped.set()
        thread.join()
    assert deliveries(database)[0].last_error


def test_a_slow_sender_does_not_overwrite_a_delivery_of_another(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url)
    finished_job(database)
    with database.write() as session:
        [slow] = webhooks.claim_due_deliveries(session, limit=1)
    make_due(database)
    send_due(sender)
    with database.write() as session:
        webhooks.record_failure(session, slow, status=None, error="late")
    [delivered] = deliveries(database)
    assert (delivered.last_error, delivered.next_attempt_at) == (None, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_private_address_is_connected_to(
    database: Database, database_settings: Settings, receiver: Receiver, host: str
) -> None:
    add_webhook(database, receiver.url.replace("127.0.0.1", host))
    finished_job(database)
    assert send_due(WebhookSender(database_settings)) == 1
    assert receiver.got == []
    assert "not on the public network" in (deliveries(database)[0].last_error or "")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 (nothing binds it here)
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("2002:7f00:1::", False),
        ("fd00::1", False),
        ("64:ff9b::7f00:1", False),
        ("::7f00:1", False),
        ("fec0::1", False),
        ("192.0.0.8", False),
    ],
)
def test_public_and_private_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def seconds_until_retry(database: Database) -> list[float]:
    """For each delivery that is pending, in the order of creation."""
    with database.read() as session:
        now = get_database_now(session)
    waiting = sorted(deliveries(database), key=lambda delivery: delivery.created_at)
    return [
        (delivery.next_attempt_at - now).total_seconds() for delivery in waiting if delivery.next_attempt_at
    ]


@pytest.mark.parametrize("slow_owner", [LOCAL_OWNER, "somebody-else"])
@pytest.mark.parametrize("jobs_count", [1, 3])
def test_c7_slow_receivers_delay_no_message_to_another(
    database: Database,
    sender: WebhookSender,
    receiver: Receiver,
    slow_receiver: Receiver,
    slow_owner: str,
    jobs_count: int,
) -> None:
    for index in range(12):
        add_webhook(database, f"{slow_receiver.url}/{index}", owner=slow_owner)
    add_webhook(database, receiver.url)
    for _ in range(jobs_count):
        finished_job(database, owner=slow_owner)
        if slow_owner != LOCAL_OWNER:
            finished_job(database)
    sender.start()
    deadline = time.monotonic() + 8  # a slow receiver is given up after 10 seconds
    while len(receiver.got) < jobs_count or len(slow_receiver.got) < 12:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(slow_receiver.got) == 12, "one at a time for each webhook"


def test_c7_a_message_that_becomes_due_meanwhile_is_not_delayed(
    database: Database, sender: WebhookSender, receiver: Receiver, slow_receiver: Receiver
) -> None:
    add_webhook(database, slow_receiver.url, owner="somebody-else")
    finished_job(database, owner="somebody-else")
    sender.start()
    deadline = time.monotonic() + 8
    while not slow_receiver.got and time.monotonic() < deadline:
        time.sleep(0.02)
    add_webhook(database, receiver.url)
    finished_job(database)
    while not receiver.got and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3),
        ("120", 120),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", 5),
        ("-7", 5),
        ("9" * 400, 43_200),
    ],
)
def test_c7_a_retry_after_is_honoured_by_every_message_to_the_receiver(
    database: Database, sender: WebhookSender, receiver: Receiver, header: str, seconds: float
) -> None:
    add_webhook(database, receiver.url)
    finished_job(database)
    receiver.answers, receiver.headers = [429], {"Retry-After": header}
    with database.write() as session:
        [delivery] = webhooks.claim_due_deliveries(session, limit=1)
    finished_job(database)
    sender._send(delivery, "{}")
    first, second = seconds_until_retry(database)
    assert seconds - 1 <= first <= 1.2 * seconds + 1
    if header in ("3", "120"):
        assert second == pytest.approx(seconds, abs=1)


def test_c7_delays_that_a_receiver_requests_never_decrease(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url)
    finished_job(database)
    receiver.answers, receiver.headers = [503] * 3, {"Retry-After": "1"}
    for at_least in (1, 5, 30):
        send_due(sender)
        [wait] = seconds_until_retry(database)
        assert at_least - 1 <= wait <= 1.2 * at_least + 1
        make_due(database)


def test_c7_a_message_has_a_user_agent_an_absolute_link_and_utc_times(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    with database.write() as session:
        webhooks.create_webhook(
            session,
            LOCAL_OWNER,
            url=receiver.url,
            states=[JobState.SUCCEEDED],
            secret=None,
            base_url="https://lab.example",
        )
    job = finished_job(database)
    send_due(sender)
    [(headers, text)] = receiver.got
    message = json.loads(text)
    assert headers["User-Agent"].startswith("Regbench/")
    assert message["data"]["links"]["self"] == f"https://lab.example/v1/jobs/{job.id}"
    for moment in (message["timestamp"], message["data"]["finished_at"]):
        assert moment.endswith("Z")
        assert "+" not in moment
        assert datetime.fromisoformat(moment) == job.finished_at


def test_c7_a_test_message_is_sent_and_signed_without_a_job(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    secret = add_webhook(database, receiver.url)
    with database.write() as session:
        [webhook] = webhooks.get_all_webhooks(session)
        webhooks.create_test_delivery(session, webhook.id)
        assert webhooks.encrypt_secrets(session, KEYS) == 1
    assert send_due(sender) == 1
    [(headers, text)] = receiver.got
    assert Verifier(secret).verify(text, headers)["type"] == "webhook.test"
    with database.write() as session:
        webhooks.create_test_delivery(session, webhook.id)
        webhooks.get_webhook(session, webhook.id).secret = encrypt_secret(secret, "d" * 32)
    assert send_due(sender) == 1
    assert "REGBENCH_ENCRYPTION_KEYS" in str([row.last_error for row in deliveries(database)])


def test_c7_a_message_is_sent_again_with_the_same_id(
    database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    add_webhook(database, receiver.url)
    finished_job(database)
    send_due(sender)
    [delivery] = deliveries(database)
    with database.write() as session:
        webhooks.redeliver(session, delivery.webhook_id, delivery.id)
    assert send_due(sender) == 1
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [delivery.id] * 2
    [again] = deliveries(database)
    assert (again.attempts, again.next_attempt_at, again.last_status) == (1, None, 204)
