"""An outage of the database during training: the same tests on both databases."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import LeaseLost, ServiceUnavailable
from models.records import EpochRecord, Progress
from models.settings import Settings
from models.states import JobState
from models.store import jobs, queue
from models.store.database import Database
from models.store.rescue import rescue_abandoned
from models.store.tables import Job
from tests.factories import epoch_record, job_spec, result_record
from tests.integration.worker.conftest import Outage
from worker.lease import Interrupted, Lease
from worker.program import ProgramCache
from worker.runner import Runner
from worker.sweeper import Sweeper

DEADLINE_SECONDS = 60

ENDS: dict[JobState, Callable[[Lease], object]] = {
    JobState.SUCCEEDED: lambda lease: lease.succeed(result_record(epochs_run=1)),
    JobState.FAILED: lambda lease: lease.fail("diverged", "NaN", retryable=False),
    JobState.QUEUED: Lease.stop,
}


@pytest.fixture(autouse=True)
def _warnings_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def queued(database: Database, **changes: object) -> str:
    with database.write() as session:
        return jobs.create_jobs(session, [jobs.NewJob(job_spec(**changes))])[0].id


def the(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get_job(session, job_id)


def epochs(database: Database, job_id: str) -> list[int]:
    with database.read() as session:
        return [epoch.epoch for epoch in jobs.get_epochs(session, job_id)]


def claim_lease(database: Database, settings: Settings, *, lease_seconds: float = 30.0) -> Lease:
    """A job's lease; the job is the first that waits."""
    with database.write() as session:
        job = queue.claim_next(session, owner="test", lease_seconds=lease_seconds)
    assert job is not None
    return Lease(database, settings.model_copy(update={"lease_seconds": lease_seconds}), job.id, job.attempt)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_training_continues_and_its_history_is_written_later(
    database: Database, database_settings: Settings, outage: Outage
) -> None:
    job_id = queued(database)
    lease = claim_lease(database, database_settings)
    with outage():
        lease.on_chunk_end(Progress(0, 0.1, 5.0))
        for epoch in (1, 2):
            lease.on_epoch_end(epoch_record(epoch), Progress(epoch, epoch / 4, 5.0))

    def written() -> bool:
        lease.on_chunk_end(Progress(2, 0.6, 4.0))
        return bool(epochs(database, job_id))

    wait_until(written)
    assert epochs(database, job_id) == [1, 2]
    job = the(database, job_id)
    assert (job.state, job.attempt, job.epochs_done, job.fraction) == ("running", 1, 2, 0.6)


def test_training_stops_once_its_lease_has_expired(
    database: Database, database_settings: Settings, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("worker.lease.time", SimpleNamespace(monotonic=lambda: now, sleep=time.sleep))
    queued(database)
    lease = claim_lease(database, database_settings, lease_seconds=30.0)
    now = 29.0
    lease.on_chunk_end(Progress(0, 0.1, 5.0))
    with outage():
        now = 58.0
        lease.on_chunk_end(Progress(0, 0.2, 5.0))
        now = 59.5
        with pytest.raises(Interrupted, match="lease has expired"):
            lease.on_chunk_end(Progress(0, 0.3, 5.0))


def test_a_successful_heartbeat_keeps_the_job(
    database: Database, database_settings: Settings, outage: Outage
) -> None:
    job_id = queued(database)
    lease = claim_lease(database, database_settings, lease_seconds=3.0)
    before = the(database, job_id).heartbeat_at
    with lease.keep_alive():
        with outage():
            lease.on_chunk_end(Progress(0, 0.1, 5.0))
        wait_until(lambda: the(database, job_id).heartbeat_at != before)
    lease.on_chunk_end(Progress(0, 0.2, 5.0))
    assert the(database, job_id).fraction == 0.2


@pytest.mark.parametrize("state", ENDS)
def test_a_job_outcome_is_buffered_until_it_can_be_stored(
    database: Database,
    database_settings: Settings,
    outage: Outage,
    caplog: pytest.LogCaptureFixture,
    state: JobState,
) -> None:
    job_id = queued(database)
    lease = claim_lease(database, database_settings)
    with ThreadPoolExecutor(1) as worker:
        with outage():
            lease.on_epoch_end(epoch_record(1), Progress(1, 1.0, 0.0))
            ending = worker.submit(ENDS[state], lease)
            wait_until(lambda: "its outcome is not stored yet" in caplog.text)
        ending.result()
    job = the(database, job_id)
    assert (job.state, job.attempt, job.crashes) == (state, 1, 0)
    # A job that is requeued without a checkpoint is trained again from the start.
    assert epochs(database, job_id) == ([1] if state.terminal else [])


@pytest.mark.parametrize("state", ENDS)
def test_the_outcome_of_a_job_that_another_worker_has_claimed_is_dropped(
    database: Database,
    database_settings: Settings,
    outage: Outage,
    caplog: pytest.LogCaptureFixture,
    state: JobState,
) -> None:
    job_id = queued(database)
    lease = claim_lease(database, database_settings)
    with database.write() as session:
        queue.stop(session, job_id, lease.attempt)
        assert queue.claim_next(session, owner="another", lease_seconds=30) is not None
    with ThreadPoolExecutor(1) as worker:
        with outage():
            ending = worker.submit(ENDS[state], lease)
            wait_until(lambda: "its outcome is not stored yet" in caplog.text)
        with pytest.raises(LeaseLost):
            ending.result()
    job = the(database, job_id)
    assert (job.state, job.lease_owner, job.result) == ("running", "another", None)


def test_an_outcome_is_not_buffered_forever(
    database: Database, database_settings: Settings, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.lease._LEASES_TO_RETRY", 1)
    job_id = queued(database)
    lease = claim_lease(database, database_settings, lease_seconds=0.5)
    with outage(), pytest.raises(ServiceUnavailable):
        lease.succeed(result_record())
    assert the(database, job_id).state == JobState.RUNNING
    wait_until(lambda: rescued(database) == [job_id])


def rescued(database: Database) -> list[str]:
    with database.write() as session:
        return rescue_abandoned(session).queued


class TestTraining:
    """The same, trained for real."""

    @pytest.fixture
    def run_next(
        self, database_settings: Settings, programs: ProgramCache
    ) -> Iterator[Callable[[float], bool]]:
        with ExitStack() as stack:

            def run_next(lease_seconds: float) -> bool:
                settings = database_settings.model_copy(update={"lease_seconds": lease_seconds})
                runner = Runner(settings)
                runner._programs = programs
                stack.callback(runner.close)
                return runner.run_next()

            yield run_next

    def test_an_outage_shorter_than_a_lease_has_no_effect(
        self,
        database: Database,
        outage: Outage,
        run_next: Callable[[float], bool],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        job_id = queued(database, training={"epochs": 6})
        ended, away = Lease.on_epoch_end, ExitStack()

        def on_epoch_end(lease: Lease, record: EpochRecord, progress: Progress, checkpoint: Any) -> None:
            if record.epoch == 2:
                away.enter_context(outage())
            ended(lease, record, progress, checkpoint)
            if record.epoch == 4:
                away.close()

        monkeypatch.setattr(Lease, "on_epoch_end", on_epoch_end)
        assert run_next(30.0)
        assert "continues to train, its history is buffered" in caplog.text
        job = the(database, job_id)
        assert (job.state, job.attempt, job.crashes, job.epochs_done) == (JobState.SUCCEEDED, 1, 0, 6)
        assert epochs(database, job_id) == [1, 2, 3, 4, 5, 6]

    def test_an_outage_longer_than_a_lease_requeues_the_job_without_a_crash(
        self,
        database: Database,
        outage: Outage,
        run_next: Callable[[float], bool],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        job_id = queued(database, training={"epochs": 1000})
        ended, away = Lease.on_epoch_end, ExitStack()

        def come_back() -> None:
            wait_until(lambda: "its outcome is not stored yet" in caplog.text)
            away.close()

        back = Thread(target=come_back)

        def on_epoch_end(lease: Lease, record: EpochRecord, progress: Progress, checkpoint: Any) -> None:
            if record.epoch == 2:
                away.enter_context(outage())
                back.start()
            ended(lease, record, progress, checkpoint)

        monkeypatch.setattr(Lease, "on_epoch_end", on_epoch_end)
        assert run_next(0.5)
        back.join()
        job = the(database, job_id)
        assert (job.state, job.attempt, job.crashes) == (JobState.QUEUED, 1, 0)
        # On a slow machine it has a checkpoint by then.
        assert job.epochs_done == (job.checkpoint_epoch or 0)
        assert epochs(database, job_id) == [*range(1, job.epochs_done + 1)]

    def test_no_job_is_claimed_while_the_database_is_unavailable(
        self, database: Database, outage: Outage, run_next: Callable[[float], bool]
    ) -> None:
        queued(database)
        with outage():
            assert run_next(30.0) is False


class TestSweeper:
    """The sweeper waits until workers have had time to renew their leases."""

    @pytest.fixture
    def settings(self, database_settings: Settings) -> Settings:
        """Without a broker, which a rescue does not need."""
        return database_settings.model_copy(update={"broker_url": "redis+socket:///no/such/redis.sock"})

    def abandoned(self, database: Database) -> str:
        job_id = queued(database)
        with database.write() as session:
            queue.claim_next(session, owner="gone", lease_seconds=-1)
        return job_id

    def test_an_abandoned_job_is_rescued_immediately(self, database: Database, settings: Settings) -> None:
        job_id = self.abandoned(database)
        Sweeper(settings).run_once()
        assert the(database, job_id).state == JobState.QUEUED

    def test_no_job_is_rescued_within_a_lease_after_an_outage(
        self, database: Database, settings: Settings, outage: Outage
    ) -> None:
        job_id = self.abandoned(database)
        sweeper = Sweeper(settings.model_copy(update={"lease_seconds": 3600.0}))
        with outage():
            sweeper.run_once()
        sweeper.run_once()
        assert the(database, job_id).state == JobState.RUNNING

    def test_an_abandoned_job_is_rescued_a_lease_after_an_outage(
        self, database: Database, settings: Settings, outage: Outage
    ) -> None:
        job_id = self.abandoned(database)
        sweeper = Sweeper(settings.model_copy(update={"lease_seconds": 0.5}))
        with outage():
            sweeper.run_once()

        def swept() -> bool:
            sweeper.run_once()
            return the(database, job_id).state == JobState.QUEUED

        wait_until(swept)
