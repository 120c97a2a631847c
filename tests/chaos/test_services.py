"""API, broker and worker as an installation runs them, one of which fails at a time."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psycopg
import pytest
from redis import Redis
from sqlalchemy import make_url

from models.dispatch import QUEUE
from models.settings import Settings
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.tables import Job
from models.store.transitions import get_job
from regbench.local.process import Child
from tests import servers
from tests.chaos.fault_log import FAULT_LOG, Tally
from tests.chaos.faults import (
    REDIS_FAULTS,
    adjustable_clock,
    frozen,
    locked_postgresql,
    read_only_postgresql,
)
from tests.chaos.outcomes import all_ended, count, wait_until
from tests.chaos.proxy import Proxy
from tests.chaos.services import api, contained_worker, quick_worker, submit

LEASE_SECONDS = 3.0
API_SOCKET = "api.sock"


@dataclass(frozen=True)
class Fleet:
    """An API and a worker with two processes, both behind one proxy to their broker."""

    settings: Settings
    database: Database
    client: httpx.Client
    api: Child
    worker: Child
    proxy: Proxy
    redis: Redis
    """To the broker itself, past the proxy."""
    folder: Path
    """Of the broker, with the sockets of both."""

    def job(self, job_id: str) -> Job:
        """The job as stored."""
        with self.database.read() as session:
            return get_job(session, job_id)

    def owner(self, job_id: str) -> str:
        """The process that trains the job, once one does."""
        wait_until(lambda: self.job(job_id).lease_owner is not None)
        return self.job(job_id).lease_owner or ""

    def wait_for_start(self, job_ids: list[str]) -> None:
        """Wait until one of these jobs has left the queue."""
        wait_until(lambda: any(self.job(job_id).state != JobState.QUEUED for job_id in job_ids))

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

    @property
    def is_sqlite(self) -> bool:
        """Which of the two databases it is."""
        return self.settings.database_url.startswith("sqlite")

    def get_failing_checks(self) -> set[str]:
        """The parts with which /readyz finds something wrong."""
        checks: dict[str, str] = self.client.get("/readyz").json()["checks"]
        return {part for part, outcome in checks.items() if outcome != "ok"}


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
            tracing="log",
        )
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        database = Database(settings)
        stack.callback(database.close)
        worker = stack.enter_context(quick_worker(settings, home / "worker.log"))
        process, client = stack.enter_context(
            api(settings, home / "api.log", str(redis_socket.parent / API_SOCKET))
        )
        redis = stack.enter_context(Redis(unix_socket_path=str(redis_socket)))
        yield Fleet(settings, database, client, process, worker, proxy, redis, redis_socket.parent)


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


def test_one_trace_leads_from_the_request_to_the_result(fleet: Fleet, random: Random) -> None:
    """The caller's trace, through two processes that export what they did."""
    trace_id, caller = f"{random.getrandbits(128):032x}", "00000000000000ab"
    spec = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 2}}
    headers = {"traceparent": f"00-{trace_id}-{caller}-01", "X-Request-Id": "find-me-please"}
    job_id = fleet.client.post("/v1/jobs", json=spec, headers=headers).json()["id"]

    def read_spans() -> dict[str, Any]:
        logs = [(fleet.settings.home / name).read_text() for name in ("api.log", "worker.log")]
        lines = [line for log in logs for line in log.splitlines() if trace_id in line]
        return {span["name"]: span for span in map(json.loads, lines)}

    wait_until(lambda: {"POST /v1/jobs", "train"} <= read_spans().keys())
    spans = read_spans()
    request, training = spans["POST /v1/jobs"], spans["train"]
    assert request["parent_id"] == f"0x{caller}"
    assert training["parent_id"] == request["context"]["span_id"]
    assert training["attributes"]["regbench.job_id"] == job_id
    assert [event["name"] for event in training["events"]] == ["epoch", "epoch", "succeeded"]
    assert [event["attributes"].get("epoch") for event in training["events"]] == [1, 2, None]
    services = [span["resource"]["attributes"]["service.name"] for span in (request, training)]
    assert services == ["regbench-api", "regbench-worker"]
    wait_until(lambda: "apply_async/regbench.train_job" in read_spans())
    assert any(name.startswith("INSERT") for name in spans)
    # In the worker's log, too.
    lines = (fleet.settings.home / "worker.log").read_text().splitlines()
    assert any(f"job_id={job_id}" in line and "request_id=find-me-please" in line for line in lines)


def test_an_api_that_dies_between_commit_and_notification(
    fleet: Fleet, tally: Tally, full: bool, tmp_path: Path
) -> None:
    job_ids = []
    for number in range(8 if full else 1):
        # A broker that accepts and never answers: the API commits and then hangs in the notification.
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
            settings = fleet.settings.model_copy(update={"broker_url": url})
            with (
                frozen(fleet.worker, fleet.database),
                api(settings, tmp_path / f"{number}.log") as (process, client),
            ):
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
    with frozen(fleet.worker, fleet.database):
        job_ids = fleet.submit(100 if full else 20)
        wait_until(lambda: all(fleet.job(job_id).dispatched_at for job_id in job_ids))
        assert fleet.get_failing_checks() == {"worker"}, "a frozen worker trains nothing"
        tally.faults = fleet.redis.llen(QUEUE)
        fleet.redis.flushall()
    # A message may have been on its way to the worker.
    assert tally.faults >= len(job_ids) - 2, "few messages were lost"
    fleet.finish(tally, job_ids)


def test_every_message_delivered_three_times(fleet: Fleet, tally: Tally, full: bool) -> None:
    with frozen(fleet.worker, fleet.database):
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


def test_a_broker_that_answers_with_errors(fleet: Fleet, tally: Tally, full: bool, random: Random) -> None:
    job_ids = []
    # After READONLY a worker takes seconds to connect again; short of time, test_worker_process.py has it.
    for error in REDIS_FAULTS if full else random.sample(["MISCONF", "OOM"], k=1):
        with REDIS_FAULTS[error](fleet.redis, fleet.folder):
            wait_until(lambda: "broker" in fleet.get_failing_checks())
            before = _count_errors(fleet.redis, error)
            began = time.monotonic()
            posted = fleet.submit(40 if full else 3)
            assert time.monotonic() - began < 1.5 * len(posted)
            wait_until(lambda e=error, least=before + 2: _count_errors(fleet.redis, e) >= least)
            tally.faults += _count_errors(fleet.redis, error) - before
        job_ids += posted
    fleet.finish(tally, job_ids)
    wait_until(lambda: not fleet.get_failing_checks())


def _count_errors(redis: Redis, error: str) -> int:
    """How many commands the broker has answered with this error."""
    errors: dict[str, dict[str, int]] = redis.info("errorstats")
    return errors.get(f"errorstat_{error}", {}).get("count", 0)


def test_a_database_that_refuses_writes(fleet: Fleet, tally: Tally, full: bool) -> None:
    url = fleet.settings.database_url
    faults = [servers.locked_sqlite] if fleet.is_sqlite else [read_only_postgresql, locked_postgresql]
    job_ids = []
    for fault in faults if full else faults[:1]:
        # Those that are trained meanwhile outlive it.
        outliving = fleet.submit(2, seconds=1.0)
        fleet.wait_for_start(outliving)
        with fault(url), ThreadPoolExecutor(8) as threads:
            wait_until(lambda: "database" in fleet.get_failing_checks())
            spec = {"dataset": {"name": "mnist_5k"}}
            posts = [
                threads.submit(fleet.client.post, "/v1/jobs", json=spec) for _ in range(24 if full else 2)
            ]
            for response in [post.result() for post in posts]:
                assert (response.status_code, "Retry-After" in response.headers) == (503, True)
                tally.faults += 1
        job_ids += [*outliving, *fleet.submit(1)]
    fleet.finish(tally, job_ids)
    # None of those that were refused exists.
    with fleet.database.read() as session:
        assert jobs.count_by_state(session)[JobState.QUEUED] == 0
    wait_until(lambda: not fleet.get_failing_checks())


def test_a_database_whose_clock_is_set(fleet: Fleet, tally: Tally, full: bool, random: Random) -> None:
    if fleet.is_sqlite:
        pytest.skip("SQLite's clock is the machine's")
    with adjustable_clock(fleet.settings.database_url) as set_clock:
        job_ids = fleet.submit(20 if full else 2, seconds=1.0)
        fleet.wait_for_start(job_ids)
        for _ in range(10 if full else 1):
            set_clock(random.choice([-1, 1]) * random.uniform(60, 7200))
            tally.faults += 1
            job_ids += fleet.submit(1)
            time.sleep(random.uniform(0, LEASE_SECONDS))
        # Also those that were queued when the clock was ahead.
        fleet.finish(tally, job_ids)
        assert {fleet.job(job_id).crashes for job_id in job_ids} == {0}, "the job of a live worker was taken"


def test_two_workers_with_one_host_name_and_process_number(
    fleet: Fleet, tally: Tally, full: bool, tmp_path: Path
) -> None:
    unshare = shutil.which("unshare")
    if (
        not full
        or not unshare
        or subprocess.run([unshare, "--fork", "--pid", "true"], check=False).returncode
    ):
        pytest.skip("only at length, where a test may create process namespaces")
    with ExitStack() as stack, frozen(fleet.worker, fleet.database):
        twins = [
            stack.enter_context(contained_worker(fleet.settings, tmp_path / f"{number}.log"))
            for number in (1, 2)
        ]
        job_ids = fleet.submit(4, seconds=4.0)
        wait_until(lambda: all(fleet.job(job_id).lease_owner for job_id in job_ids))
        owners = [fleet.owner(job_id).rpartition("/")[0] for job_id in job_ids]
        assert len({*owners}) == 2, "one worker has claimed all jobs"
        assert {owner.rpartition(":")[0] for owner in owners} == {f"{socket.gethostname()}:1"}
        os.killpg(twins[0].pid, signal.SIGKILL)
        tally.faults += 1
        fleet.finish(tally, job_ids)
        crashes = dict.fromkeys(owners, 0)
        for job_id, owner in zip(job_ids, owners, strict=True):
            crashes[owner] += fleet.job(job_id).crashes
        # The jobs of the killed one only, once each.
        assert sorted(crashes.values()) == [0, 2]


def test_an_api_that_is_frozen_while_jobs_are_submitted(fleet: Fleet, tally: Tally, full: bool) -> None:
    with fleet.database.read() as session:
        before = sum(jobs.count_by_state(session).values())

    def post(key: str, seconds: float) -> httpx.Response | None:
        spec = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 2}}
        try:
            return fleet.client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": key}, timeout=seconds)
        except httpx.TimeoutException:
            return None

    def post_until_accepted(key: str) -> str:
        """As a client does that got no answer: the first request is carried out now, too."""
        while (response := post(key, 30.0)) is None or response.status_code != 202:
            assert response is None or response.status_code in (409, 503), response.text
            time.sleep(0.1)
        job_id: str = response.json()["id"]
        return job_id

    job_ids: set[str] = set()
    for attempt in range(5 if full else 1):
        keys = [f"{tally.name}-{attempt}-{number}" for number in range(8)]
        with ThreadPoolExecutor(len(keys)) as threads:
            with frozen(fleet.api):
                assert [*threads.map(post, keys, [0.5] * len(keys))] == [None] * len(keys)
            tally.faults += 1
            job_ids |= {*threads.map(post_until_accepted, keys)}
    fleet.finish(tally, [*job_ids])
    with fleet.database.read() as session:
        assert sum(jobs.count_by_state(session).values()) - before == len(job_ids) == tally.jobs


def test_requests_that_would_occupy_the_api(fleet: Fleet, tally: Tally, full: bool) -> None:
    """Bodies that never end, and a hundred concurrent /readyz."""
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\nkey="
    job_ids = []
    with ExitStack() as stack, ThreadPoolExecutor(100) as threads:
        slow = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(1000 if full else 50)]
        for connection in slow:
            connection.settimeout(60.0)
            connection.connect(str(fleet.folder / API_SOCKET))
            connection.sendall(head)
        for _ in range(10 if full else 1):
            checks = [threads.submit(fleet.client.get, "/readyz") for _ in range(100)]
            began = time.monotonic()
            job_ids += fleet.submit(3)
            assert time.monotonic() - began < 10.0
            # On a busy machine the worker may be silent for half a second, which is not ready.
            assert {check.result().status_code for check in checks} <= {200, 503}
            tally.faults += 1
        if full:
            assert {connection.recv(1) for connection in slow} == {b""}, "the API still waits for a body"
        tally.faults += len(slow)
    fleet.finish(tally, job_ids)
