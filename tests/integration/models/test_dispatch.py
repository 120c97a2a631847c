"""Dispatch messages with a real Redis, and without one."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from models.dispatch import QUEUE, TRAIN_JOB, notify_workers
from models.settings import Settings
from models.store import jobs
from models.store.database import Database
from models.store.jobs import NewJob
from tests.factories import job_spec


@pytest.fixture
def broker(redis_socket: Path) -> Iterator[Redis]:
    with Redis(unix_socket_path=str(redis_socket)) as client:
        client.flushall()
        yield client


@pytest.fixture
def broker_settings(database_settings: Settings, redis_socket: Path) -> Settings:
    return database_settings.model_copy(update={"broker_url": f"redis+socket://{redis_socket}"})


def create(database: Database, count: int) -> list[str]:
    with database.write() as session:
        return [job.id for job in jobs.create_jobs(session, [NewJob(job_spec()) for _ in range(count)])]


def dispatched(database: Database, job_id: str) -> bool:
    with database.read() as session:
        return jobs.get_job(session, job_id).dispatched_at is not None


def test_one_message_for_each_job_arrives_in_order_and_is_recorded(
    database: Database, broker_settings: Settings, broker: Redis
) -> None:
    first, second, silent = create(database, 3)
    notify_workers(database, broker_settings, [first, second])
    # Celery's Redis transport pushes on the left and takes from the right.
    messages = [json.loads(message) for message in reversed(broker.lrange(QUEUE, 0, -1))]
    assert [message["headers"]["task"] for message in messages] == [TRAIN_JOB, TRAIN_JOB]
    assert [message["headers"]["kwargsrepr"] for message in messages] == [
        repr({"job_id": first}),
        repr({"job_id": second}),
    ]
    assert all(message["content-type"] == "application/json" for message in messages)
    assert [dispatched(database, job_id) for job_id in (first, second, silent)] == [True, True, False]


_FIRST_MESSAGES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from models.store.database import Database
from models.dispatch import notify_workers
from models.settings import Settings

settings, together = Settings(), Barrier(8)
database = Database(settings)

def send(job_id):
    together.wait()
    notify_workers(database, settings, [job_id])

with ThreadPoolExecutor(8) as pool:
    list(pool.map(send, sys.argv[1:]))
"""


def test_a_new_process_can_send_its_first_messages_from_several_threads(
    database: Database, broker_settings: Settings, broker: Redis
) -> None:
    job_ids = create(database, 8)
    environment = {
        **os.environ,
        "REGBENCH_DATABASE_URL": broker_settings.resolved_database_url,
        "REGBENCH_BROKER_URL": broker_settings.resolved_broker_url,
    }
    subprocess.run([sys.executable, "-c", _FIRST_MESSAGES, *job_ids], env=environment, check=True)
    assert broker.llen(QUEUE) == 8
    assert all(dispatched(database, job_id) for job_id in job_ids)


def test_without_jobs_no_message_is_sent(
    database: Database, broker_settings: Settings, broker: Redis
) -> None:
    notify_workers(database, broker_settings, [])
    assert broker.llen(QUEUE) == 0


def test_no_message_is_sent_while_another_is_pending(
    database: Database, broker_settings: Settings, broker: Redis
) -> None:
    first, second = create(database, 2)
    notify_workers(database, broker_settings, [first], only_if_queue_is_empty=True)
    notify_workers(database, broker_settings, [second], only_if_queue_is_empty=True)
    assert broker.llen(QUEUE) == 1
    assert not dispatched(database, second)
    broker.flushall()
    notify_workers(database, broker_settings, [second], only_if_queue_is_empty=True)
    assert broker.llen(QUEUE) == 1
    assert dispatched(database, second)


@pytest.mark.parametrize(
    "address",
    [
        "redis+socket:///no/such/redis.sock",
        # Port 9 is "discard"; no service listens on it.
        "redis://127.0.0.1:9/0",
    ],
)
def test_an_unavailable_broker_is_logged_and_does_not_fail_the_request(
    database: Database,
    database_settings: Settings,
    caplog: pytest.LogCaptureFixture,
    address: str,
) -> None:
    [job_id] = create(database, 1)
    away = database_settings.model_copy(update={"broker_url": address})
    with caplog.at_level(logging.WARNING, logger="models.dispatch"):
        notify_workers(database, away, [job_id])
    [record] = [record for record in caplog.records if record.name == "models.dispatch"]
    assert "the broker cannot be reached, 1 job(s) wait" in record.message
    assert not dispatched(database, job_id)


def test_a_database_lost_after_the_message_was_sent_is_logged(
    database: Database, broker_settings: Settings, broker: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    [job_id] = create(database, 1)
    gone = Database(broker_settings.model_copy(update={"database_url": "sqlite:////no/such/folder/x.db"}))
    with caplog.at_level(logging.WARNING, logger="models.dispatch"):
        notify_workers(gone, broker_settings, [job_id])
    gone.close()
    assert broker.llen(QUEUE) == 1
    assert "could not record that messages were sent" in caplog.text
