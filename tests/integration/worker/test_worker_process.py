"""A real Celery worker process on PostgreSQL and Redis, started by the command that an installation uses."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from models.dispatch import notify_workers
from models.settings import Settings
from models.spec import JobSpec
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.tables import Job
from regbench.local.stack import WORKER
from tests import servers
from tests.chaos.faults import read_only_redis, unsaved_redis
from tests.factories import job_spec
from tests.servers import stopped_postgresql

DEADLINE_SECONDS = 180  # TensorFlow's import alone takes tens of seconds on a busy machine


@contextmanager
def worker(settings: Settings, log: Path, processes: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "REGBENCH_HOME": str(settings.home),
        "REGBENCH_DATABASE_URL": settings.database_url,
        "REGBENCH_BROKER_URL": settings.broker_url,
        "REGBENCH_WORKER_CONCURRENCY": str(processes),
        "REGBENCH_LEASE_SECONDS": str(settings.lease_seconds),
        "REGBENCH_SWEEP_SECONDS": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *WORKER],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def now(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get_job(session, job_id)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def wait_for(database: Database, job_id: str) -> Job:
    wait_until(lambda: JobState(now(database, job_id).state).terminal)
    return now(database, job_id)


def queued(database: Database, spec: JobSpec) -> str:
    with database.write() as session:
        return jobs.create_jobs(session, [jobs.NewJob(spec)])[0].id


@pytest.fixture
def settings_with_broker(database_settings: Settings, redis_socket: Path) -> Settings:
    return database_settings.model_copy(update={"broker_url": f"redis+socket://{redis_socket}"})


FAULTS = ((read_only_redis, "UNBLOCKED|read only replica"), (unsaved_redis, "MISCONF"))


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_jobs_are_trained_with_and_without_a_dispatch_message_and_after_broker_errors(
    database_settings: Settings, database: Database, tmp_path: Path
) -> None:
    # The first was queued before the worker started, and has no dispatch message.
    waiting = queued(database, job_spec(seed=1))
    log = tmp_path / "worker.log"
    with servers.redis() as socket, Redis(unix_socket_path=str(socket)) as redis:
        settings = database_settings.model_copy(update={"broker_url": f"redis+socket://{socket}"})
        with worker(settings, log) as process:
            first = wait_for(database, waiting)
            dispatched = queued(database, job_spec(seed=2, regularization={"dropout": {}}))
            notify_workers(database, settings, [dispatched, dispatched, dispatched])
            second = wait_for(database, dispatched)
            after_errors = []
            for fault, error in FAULTS:
                # The worker is idle, and outlives a broker that answers with errors.
                with fault(redis, socket.parent):
                    wait_until(lambda error=error: re.search(error, log.read_text()))
                    time.sleep(5)  # a few attempts to reconnect
                    assert process.poll() is None, log.read_text()
                job_id = queued(database, job_spec())
                notify_workers(database, settings, [job_id])
                after_errors.append(wait_for(database, job_id))
    assert (first.state, second.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED), log.read_text()
    assert second.attempt == 1, log.read_text()
    assert first.result is not None
    assert second.result is not None
    assert first.result.weights_sha256 != second.result.weights_sha256
    with database.read() as session:
        assert len(jobs.get_epochs(session, dispatched)) == 1
    results = [(job.state, job.attempt) for job in after_errors]
    assert results == [(JobState.SUCCEEDED, 1)] * len(FAULTS), log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_the_same_specification_gives_the_same_weights_wherever_it_is_trained(
    settings_with_broker: Settings, database: Database, tmp_path: Path
) -> None:
    """Bit for bit: beside another job, after other jobs in a warm process, and alone in a new process."""
    everything = {"dropout": {"rate": 0.3, "input_rate": 0.1}, "l2": {}, "batch_normalization": {}}
    spec = job_spec(seed=3, regularization=everything, training={"epochs": 2})
    busy = job_spec(seed=9, model={"hidden_units": [512, 512]}, training={"epochs": 8})
    beside = queued(database, busy)
    # Three on two processes, one of which trains the other job: at least two run in a warm process.
    ids = [queued(database, spec) for _ in range(3)]
    with worker(settings_with_broker, tmp_path / "first.log", processes=2):
        results = [wait_for(database, job_id).result for job_id in ids]
        wait_for(database, beside)
    alone = queued(database, spec)
    with worker(settings_with_broker, tmp_path / "second.log"):
        results.append(wait_for(database, alone).result)
    digests = {result.weights_sha256 if result else None for result in results}
    assert len(digests) == 1
    assert None not in digests
    assert sum(result.compilations for result in results[:3] if result) < 3 * results[3].compilations


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_a_worker_that_is_shut_down_requeues_its_job(
    settings_with_broker: Settings, database: Database, tmp_path: Path
) -> None:
    job_id = queued(database, job_spec(training={"epochs": 1000}))
    with worker(settings_with_broker, tmp_path / "worker.log"):
        wait_until(lambda: now(database, job_id).epochs_done > 0)
    job = now(database, job_id)
    assert (job.state, job.attempt, job.crashes) == (JobState.QUEUED, 1, 0)
    assert (job.lease_owner, job.requested_action) == (None, None)
    with database.read() as session:
        states = [event.to_state for event in jobs.get_events(session, job_id)]
    assert states == ["queued", "running", "queued"]


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_a_worker_that_is_shut_down_during_a_database_outage_requeues_its_job_later(
    settings_with_broker: Settings, database: Database, tmp_path: Path
) -> None:
    job_id = queued(database, job_spec(training={"epochs": 1000}))
    log = tmp_path / "worker.log"
    with worker(settings_with_broker, log) as process:
        wait_until(lambda: now(database, job_id).epochs_done > 0)
        with stopped_postgresql(settings_with_broker.database_url):
            process.terminate()
            wait_until(lambda: "could not release" in log.read_text())
        process.wait(DEADLINE_SECONDS)
    job = now(database, job_id)
    assert (job.state, job.attempt, job.crashes) == (JobState.QUEUED, 1, 0), log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_a_job_that_is_claimed_while_its_worker_stops_is_requeued(
    settings_with_broker: Settings, database: Database, tmp_path: Path
) -> None:
    """SIGTERM comes after the dispatch message and before the claim, while TensorFlow is being imported."""
    job_id = queued(database, job_spec(training={"epochs": 1000}))
    log = tmp_path / "worker.log"
    with worker(settings_with_broker, log) as process:
        wait_until(lambda: "received" in log.read_text())
        assert now(database, job_id).state == JobState.QUEUED
        process.terminate()
        process.wait(DEADLINE_SECONDS)
    job = now(database, job_id)
    assert (job.state, job.crashes) == (JobState.QUEUED, 0), log.read_text()
