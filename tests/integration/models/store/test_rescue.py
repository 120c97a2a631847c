"""Abandoned and undispatched jobs: the same tests on both databases."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from threading import Event as Signal

import pytest
from sqlalchemy import select, update

from models.errors import LeaseLost
from models.records import Progress
from models.states import Action, JobState
from models.store import jobs, queue
from models.store.database import Database
from models.store.rescue import Rescued, find_undispatched_jobs, rescue_abandoned
from models.store.sql_functions import DatabaseNow
from models.store.tables import Job
from tests.factories import epoch_record, job_spec

NO_PROGRESS = Progress(0, 0.0, None)


def queued(database: Database, *, priority: int = 0) -> str:
    with database.write() as session:
        return jobs.create_jobs(session, [jobs.NewJob(job_spec(priority=priority))])[0].id


def claim_new(database: Database, *, seconds: float) -> str:
    """A job with a lease of so many seconds; a negative number makes it abandoned."""
    job_id = queued(database)
    with database.write() as session:
        assert queue.claim(session, job_id, owner="worker", lease_seconds=seconds) is not None
    return job_id


def change(database: Database, job_id: str, **values: object) -> None:
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def the(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get_job(session, job_id)


def rescue(database: Database) -> Rescued:
    with database.write() as session:
        return rescue_abandoned(session)


def undispatched(database: Database, *, older_than_seconds: float = 30, limit: int = 100) -> list[str]:
    with database.read() as session:
        return find_undispatched_jobs(session, older_than_seconds=older_than_seconds, limit=limit)


def test_an_abandoned_job_is_requeued_with_backoff_and_counts_the_crash(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    assert rescue(database) == Rescued([job_id], [])
    job = the(database, job_id)
    assert (job.state, job.crashes, job.attempt, job.lease_owner) == (JobState.QUEUED, 1, 1, None)
    with database.write() as session:
        assert queue.claim(session, job_id, owner="too soon", lease_seconds=30) is None
    with database.read() as session:
        last = jobs.get_events(session, job_id)[-1]
        assert session.scalar(select(Job.run_after > DatabaseNow()).where(Job.id == job_id))
    assert (last.from_state, last.to_state) == ("running", "queued")
    assert last.detail == {"reason": "lease_expired", "worker": "worker"}


def test_the_backoff_of_an_abandoned_job_is_bounded(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    change(database, job_id, crashes=10_000, max_crashes=20_000)
    rescue(database)
    with database.read() as session:
        assert session.scalar(select(Job.run_after < DatabaseNow(33)).where(Job.id == job_id))


def test_a_job_with_a_valid_lease_is_not_rescued(database: Database) -> None:
    job_id = claim_new(database, seconds=30)
    assert rescue(database) == Rescued([], [])
    assert the(database, job_id).state == JobState.RUNNING


def test_the_third_crash_fails_the_job_with_an_error(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    change(database, job_id, crashes=2)
    assert rescue(database) == Rescued([], [job_id])
    job = the(database, job_id)
    assert (job.state, job.error_code, job.error_retryable, job.crashes) == (
        "failed",
        "worker_crashed",
        True,
        3,
    )
    assert job.finished_at is not None


@pytest.mark.parametrize(
    ("action", "state"),
    [(Action.CANCEL, "cancelled"), (Action.PAUSE, "paused"), (Action.RELEASE, "queued")],
)
def test_the_requested_action_of_an_abandoned_job_is_done(
    database: Database, action: Action, state: str
) -> None:
    job_id = claim_new(database, seconds=-1)
    change(database, job_id, requested_action=action)
    rescue(database)
    job = the(database, job_id)
    assert (job.state, job.crashes, job.requested_action) == (state, 0, None)


def test_a_rescued_job_is_requeued_at_its_checkpoint(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    with database.write() as session:
        for epoch in (1, 2):
            queue.record_epoch(session, job_id, 1, epoch_record(epoch))
    change(database, job_id, epochs_done=2, epochs=4, fraction=0.6, eta_seconds=9.0, checkpoint_epoch=1)
    rescue(database)
    job = the(database, job_id)
    assert (job.epochs_done, job.fraction, job.eta_seconds) == (1, 0.25, None)
    with database.read() as session:
        assert [epoch.epoch for epoch in jobs.get_epochs(session, job_id)] == [1]


def test_a_rescued_job_is_dispatched_as_soon_as_it_may_start(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    with database.write() as session:
        queue.mark_dispatched(session, [job_id])
    rescue(database)
    assert undispatched(database) == []
    change(database, job_id, run_after=DatabaseNow())
    assert undispatched(database) == [job_id]


def test_a_cancel_during_the_rescue_is_not_lost(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    begun = Signal()

    def cancel() -> str:
        begun.set()
        with database.write() as session:
            return jobs.cancel_job(session, job_id).state

    with ThreadPoolExecutor(1) as owner:
        with database.write() as session:
            assert rescue_abandoned(session).queued == [job_id]
            cancelled = owner.submit(cancel)
            assert begun.wait(30)
            # The other should wait for the lock by now; if it comes later, the test still holds.
            time.sleep(0.2)
        assert cancelled.result() == JobState.CANCELLED


def test_a_job_whose_cancel_is_in_progress_is_rescued_later(database: Database) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets no rescuer in between")
    job_id = claim_new(database, seconds=-1)
    with database.write() as session:
        jobs.cancel_job(session, job_id)
        assert rescue(database) == Rescued([], [])
    assert rescue(database) == Rescued([], [job_id])
    assert the(database, job_id).state == JobState.CANCELLED


def test_a_worker_that_resumes_after_the_rescue_changes_no_job(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    rescue(database)
    with pytest.raises(LeaseLost), database.write() as session:
        queue.renew(session, job_id, 1, lease_seconds=30, progress=NO_PROGRESS)
    assert the(database, job_id).state == JobState.QUEUED


def test_a_worker_that_renews_in_time_keeps_its_job(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    with database.write() as session:
        queue.renew(session, job_id, 1, lease_seconds=30, progress=NO_PROGRESS)
    assert rescue(database) == Rescued([], [])


def test_concurrent_rescues_count_a_crash_once(database: Database) -> None:
    job_id = claim_new(database, seconds=-1)
    together = Barrier(4)

    def one(_number: int) -> int:
        together.wait()
        return len(rescue(database).queued)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, range(4))) == 1
    assert the(database, job_id).crashes == 1


def test_undispatched_jobs_are_listed_in_queue_order(database: Database) -> None:
    older, newer = queued(database), queued(database)
    urgent = queued(database, priority=5)
    claim_new(database, seconds=30)
    assert undispatched(database) == [urgent, older, newer]
    assert undispatched(database, limit=2) == [urgent, older]


def test_a_job_is_not_dispatched_twice_in_a_row(database: Database) -> None:
    job_id = queued(database)
    with database.write() as session:
        queue.mark_dispatched(session, [job_id])
    assert undispatched(database) == []
    assert undispatched(database, older_than_seconds=-1) == [job_id]


def test_a_job_in_backoff_is_not_dispatched(database: Database) -> None:
    job_id = queued(database)
    change(database, job_id, run_after=DatabaseNow(60))
    assert undispatched(database) == []
