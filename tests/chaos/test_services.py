"""API, broker and worker as an installation runs them, one of which fails at a time."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import psycopg
import pytest
from redis import Redis
from sqlalchemy import make_url

from models.dispatch import QUEUE
from models.settings import Settings
from models.states import JobState
from models.store.database import Database
from models.store.tables import Job
from models.store.transitions import get_job
from regbench.local.process import Child
from tests import servers
from tests.chaos.fault_log import FAULT_LOG, Tally
from tests.chaos.outcomes import all_ended, count, wait_until
from tests.chaos.proxy import Proxy
from tests.chaos.services import api, quick_worker, submit

LEASE_SECONDS = 3.0


@dataclass(frozen=True)
class Fleet:
    """An API and a worker with two processes, both behind one proxy to their broker."""

    settings: Settings
    database: Database
    client: httpx.Client
    worker: Child
    proxy: Proxy
    redis: Redis
    """To the broker itself, past the proxy."""

    def job(self, job_id: str) -> Job:
        """The job as stored."""
        with self.database.read() as session:
            return get_job(session, job_id)

    def owner(self, job_id: str) -> str:
        """The process that trains the job, once one does."""
        wait_until(lambda: self.job(job_id).lease_owner is not None)
        return self.job(job_id).lease_owner or ""

    def submit(self, number: int, *, seconds: float = 0.0) -> list[str]:
        """So many jobs over HTTP, of two epochs of so many seconds each."""
        changes = {"training": {"epochs": 2}, "labels": {"seconds": str(seconds)}}
        return [submit(self.client, seed=seed, **changes) for seed in range(number)]

    def finish(self, tally: Tally, job_ids: list[str], state: JobState = JobState.SUCCEEDED) -> None:
        """Wait until all have ended, and count how."""
        try:
            wait_until(lambda: all_ended(self.database, job_ids))
        finally:
            count(self.database, tally, dict.fromkeys(job_ids, state))

    @contextmanager
    def deaf_worker(self) -> Iterator[None]:
        """The worker with all its processes is frozen while the block runs."""
        os.killpg(self.worker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.worker.pid, signal.SIGCONT)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """SQLite is tested in the full form only: each fleet takes TensorFlow's import."""
    if "fleet" in metafunc.fixturenames:
        full = metafunc.config.stash[FAULT_LOG].full
        kinds = ["postgresql", "sqlite"] if full else ["postgresql"]
        metafunc.parametrize("fleet", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One for all tests of a database."""
    home = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        redis_socket = stack.enter_context(servers.redis())
        proxy = stack.enter_context(Proxy(redis_socket).running())
        settings = Settings(
            home=home,
            database_url=_database_url(request, home),
            broker_url=f"redis://127.0.0.1:{proxy.port}/0",
            worker_concurrency=2,
            lease_seconds=LEASE_SECONDS,
            sweep_seconds=0.5,
            redispatch_seconds=2.0,
        )
        database = Database(settings)
        stack.callback(database.close)
        worker = stack.enter_context(quick_worker(settings, home / "worker.log"))
        _, client = stack.enter_context(api(settings, home / "api.log"))
        redis = stack.enter_context(Redis(unix_socket_path=str(redis_socket)))
        yield Fleet(settings, database, client, worker, proxy, redis)


def _database_url(request: pytest.FixtureRequest, home: Path) -> str:
    if request.param == "sqlite":
        source: Path = request.getfixturevalue("migrated_sqlite")
        (home / "regbench.db").write_bytes(source.read_bytes())
        return f"sqlite:///{home / 'regbench.db'}"
    migrated: str = request.getfixturevalue("postgresql")
    with psycopg.connect(servers.plain(migrated, "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS fleet WITH (FORCE)")
        connection.execute("CREATE DATABASE fleet TEMPLATE migrated")
    return make_url(migrated).set(database="fleet").render_as_string(hide_password=False)


def test_an_api_that_dies_between_commit_and_notification(
    fleet: Fleet, tally: Tally, full: bool, tmp_path: Path
) -> None:
    job_ids = []
    for number in range(8 if full else 1):
        # A broker that accepts and never answers: the API commits and then hangs in the notification.
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
            settings = fleet.settings.model_copy(update={"broker_url": url})
            with fleet.deaf_worker(), api(settings, tmp_path / f"{number}.log") as (process, client):
                job_ids.append(submit(client, seed=number))
                mute.settimeout(30.0)
                mute.accept()[0].close()
                os.kill(process.pid, signal.SIGKILL)
                assert fleet.job(job_ids[-1]).dispatched_at is None, "too late: the message had been sent"
        tally.faults += 1
    fleet.finish(tally, job_ids)


def test_a_broker_that_is_down_at_submit(fleet: Fleet, tally: Tally, full: bool) -> None:
    job_ids = fleet.submit(1)
    fleet.proxy.cut()
    try:
        job_ids += fleet.submit(20 if full else 3)
    finally:
        fleet.proxy.restore()
    tally.faults += 1
    fleet.finish(tally, job_ids)


def test_a_flushed_broker(fleet: Fleet, tally: Tally, full: bool) -> None:
    with fleet.deaf_worker():
        job_ids = fleet.submit(100 if full else 20)
        wait_until(lambda: all(fleet.job(job_id).dispatched_at for job_id in job_ids))
        tally.faults = fleet.redis.llen(QUEUE)
        fleet.redis.flushall()
    # A message may have been on its way to the worker.
    assert tally.faults >= len(job_ids) - 2, "few messages were lost"
    fleet.finish(tally, job_ids)


def test_every_message_delivered_three_times(fleet: Fleet, tally: Tally, full: bool) -> None:
    with fleet.deaf_worker():
        job_ids = fleet.submit(100 if full else 20)
        wait_until(lambda: all(fleet.job(job_id).dispatched_at for job_id in job_ids))
        messages = fleet.redis.lrange(QUEUE, 0, -1)
        for _ in range(2):
            tally.faults += len(messages)
            fleet.redis.lpush(QUEUE, *messages)
    assert len(messages) >= len(job_ids) - 2, "few messages were doubled"
    fleet.finish(tally, job_ids)
    assert {fleet.job(job_id).attempt for job_id in job_ids} == {1}


def test_an_unreachable_broker_that_then_drops_its_connections(
    fleet: Fleet, tally: Tally, full: bool, random: Random
) -> None:
    job_ids = []
    # Several, because the first may break a worker in a way that only the next one shows.
    for _ in range(3 if full else 2):
        under_way = fleet.submit(6, seconds=0.3)
        fleet.owner(under_way[random.randrange(3)])
        fleet.proxy.cut()
        undispatched = fleet.submit(random.randint(3, 6))
        time.sleep(20.0 if full else 3.0)
        fleet.proxy.restore()
        job_ids += [*under_way, *undispatched, *fleet.submit(random.randint(3, 6))]
        tally.faults += 1
    assert fleet.proxy.resets > 0
    fleet.finish(tally, job_ids)


def test_a_job_whose_worker_is_killed_after_a_cancel_request(fleet: Fleet, tally: Tally, full: bool) -> None:
    job_ids = []
    for seed in range(5 if full else 1):
        # So long that its worker does not check for requested actions.
        job_id = submit(fleet.client, seed=seed, labels={"seconds": "600"})
        owner = fleet.owner(job_id)
        answer = fleet.client.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, JobState.RUNNING)
        os.kill(int(owner.rpartition("/")[2]), signal.SIGKILL)
        tally.faults += 1
        job_ids.append(job_id)
    fleet.finish(tally, job_ids, JobState.CANCELLED)
    # The next job is trained, and by then the cancelled one would have been, too.
    fleet.finish(tally, fleet.submit(1))
    assert {(job.state, job.attempt) for job in map(fleet.job, job_ids)} == {(JobState.CANCELLED, 1)}
