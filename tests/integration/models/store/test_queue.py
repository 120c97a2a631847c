"""The queue as workers see it: the same tests on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.errors import LeaseLost
from models.records import Progress
from models.states import Action, JobState
from models.store import jobs, queue, queue_positions
from models.store.database import Database
from models.store.rescue import find_undispatched_jobs
from models.store.tables import Epoch, Event, Job, Result
from tests.factories import epoch_record, finished_job, job_spec, result_record

HALF_WAY = Progress(epochs_done=1, fraction=0.5, eta_seconds=12.5)


def queued(database: Database, count: int = 1, *, priority: int = 0) -> list[str]:
    with database.write() as session:
        new = [jobs.NewJob(job_spec(priority=priority)) for _ in range(count)]
        return [job.id for job in jobs.create_jobs(session, new)]


def claimed(database: Database, job_id: str, owner: str = "worker 1") -> Job:
    with database.write() as session:
        job = queue.claim(session, job_id, owner=owner, lease_seconds=30)
    assert job is not None
    return job


def the(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get_job(session, job_id)


def history(database: Database, job_id: str) -> list[tuple[str, str | None, str | None, int]]:
    with database.read() as session:
        return [
            (event.type, event.from_state, event.to_state, event.attempt)
            for event in jobs.get_events(session, job_id)
        ]


def test_a_claim_takes_the_job_and_starts_a_lease(database: Database) -> None:
    [job_id] = queued(database)
    job = claimed(database, job_id)
    assert (job.state, job.attempt, job.lease_owner) == ("running", 1, "worker 1")
    assert job.heartbeat_at is not None
    assert job.lease_expires_at is not None
    assert 29 < (job.lease_expires_at - job.heartbeat_at).total_seconds() < 31
    assert job.started_at is not None
    assert job.started_at >= job.created_at
    assert job.version == 2


def test_a_job_is_claimed_once(database: Database) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        assert queue.claim(session, job_id, owner="worker 2", lease_seconds=30) is None
    assert the(database, job_id).lease_owner == "worker 1"


def test_an_empty_queue_has_no_job_to_claim(database: Database) -> None:
    with database.write() as session:
        assert queue.claim(session, "job_none", owner="worker 1", lease_seconds=30) is None


def test_a_job_is_not_claimed_before_its_time(database: Database) -> None:
    [job_id] = queued(database)
    with database.write() as session:
        session.execute(update(Job).values(run_after=datetime(2999, 1, 1, tzinfo=UTC)))
    with database.write() as session:
        assert queue.claim(session, job_id, owner="worker 1", lease_seconds=30) is None


def test_one_of_eight_concurrent_workers_claims_the_job(database: Database) -> None:
    [job_id] = queued(database)
    start = Barrier(8)

    def race(number: int) -> bool:
        start.wait()
        with database.write() as session:
            return queue.claim(session, job_id, owner=f"worker {number}", lease_seconds=30) is not None

    with ThreadPoolExecutor(8) as workers:
        won = list(workers.map(race, range(8)))
    assert won.count(True) == 1
    job = the(database, job_id)
    assert (job.attempt, job.lease_owner) == (1, f"worker {won.index(True)}")
    assert history(database, job_id) == [
        ("queued", None, "queued", 0),
        ("running", "queued", "running", 1),
    ]


def claim_next(database: Database, owner: str = "worker 1") -> str | None:
    with database.write() as session:
        job = queue.claim_next(session, owner=owner, lease_seconds=30)
        return job.id if job else None


def test_the_next_job_is_the_oldest_of_the_highest_priority(database: Database) -> None:
    low = queued(database, priority=-1)
    plain = queued(database, 2)
    high = queued(database, priority=5)
    assert [claim_next(database) for _ in range(5)] == [*high, *plain, *low, None]


def test_a_job_that_may_not_start_yet_does_not_block_others(database: Database) -> None:
    [delayed] = queued(database, priority=5)
    [other] = queued(database)
    with database.write() as session:
        session.execute(
            update(Job).where(Job.id == delayed).values(run_after=datetime(2999, 1, 1, tzinfo=UTC))
        )
    assert [claim_next(database), claim_next(database)] == [other, None]


def test_a_worker_leaves_jobs_of_a_newer_format_to_one_that_knows_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a rolling upgrade: the former release's workers claim beside the new ones."""
    with database.write() as session:
        specs = [job_spec(evaluation={"test": False}), job_spec()]
        tuning, plain = jobs.create_jobs(session, [jobs.NewJob(spec) for spec in specs])
    assert (the(database, tuning.id).spec_format, the(database, plain.id).spec_format) == (2, 1)
    with monkeypatch.context() as former_release, database.write() as session:
        former_release.setattr(queue, "NEWEST_FORMAT", 1)
        assert find_undispatched_jobs(session, older_than_seconds=0, limit=9) == [plain.id]
        assert queue.claim(session, tuning.id, owner="former", lease_seconds=30) is None
    with monkeypatch.context() as former_release:
        former_release.setattr(queue, "NEWEST_FORMAT", 1)
        assert [claim_next(database), claim_next(database)] == [plain.id, None]
    assert claim_next(database) == tuning.id
    assert the(database, tuning.id).attempt == 1


def test_jobs_of_an_owner_over_the_running_quota_do_not_block_others(database: Database) -> None:
    with database.write() as session:
        specs = [("ann", 1), ("ann", 2), ("bob", 3), ("ann", 4)]
        created = jobs.create_jobs(
            session, [jobs.NewJob(job_spec(seed=seed), owner) for owner, seed in specs]
        )
        first, second, bobs, _ = (job.id for job in created)

    def claim(most: int) -> str | None:
        with database.write() as session:
            job = queue.claim_next(session, owner="worker", lease_seconds=30, max_running=most)
            return job.id if job else None

    assert [claim(1), claim(1), claim(1), claim(2), claim(2)] == [first, bobs, None, second, None]


def test_owners_take_turns_and_priorities_hold_within_an_owner(database: Database) -> None:
    """With two owners, one with 1,000 queued jobs, the other's single job starts within two claims."""
    with database.write() as session:
        crowd = jobs.create_jobs(
            session,
            [jobs.NewJob(job_spec(seed=seed, priority=9 * (seed > 997)), "ann") for seed in range(1_000)],
        )
    assert [claim_next(database) for _ in range(2)] == [crowd[998].id, crowd[999].id]
    with database.write() as session:
        (single,) = jobs.create_jobs(session, [jobs.NewJob(job_spec(priority=-9), "bob")])
        eves = jobs.create_jobs(session, [jobs.NewJob(job_spec(seed=seed), "eve") for seed in (1, 2)])
    order = [single, eves[0], crowd[0], eves[1], crowd[1], crowd[2]]
    with database.read() as session:
        positions = queue_positions.get_queue_positions(session, [*crowd[:3], single, *eves, crowd[997]])
    assert positions == {job.id: place for place, job in enumerate(order, 1)} | {crowd[997].id: 1_001}
    assert [claim_next(database) for _ in range(6)] == [job.id for job in order]
    # Who comes back after a while is served next, but makes up for nothing.
    with database.write() as session:
        bobs = jobs.create_jobs(session, [jobs.NewJob(job_spec(seed=seed), "bob") for seed in (1, 2)])
    assert [claim_next(database) for _ in range(4)] == [bobs[0].id, crowd[3].id, bobs[1].id, crowd[4].id]


def test_two_concurrent_workers_do_not_exceed_an_owners_running_quota(database: Database) -> None:
    queued(database, 8)
    start = Barrier(4)

    def claim(_: int) -> bool:
        start.wait()
        with database.write() as session:
            return queue.claim_next(session, owner="w", lease_seconds=30, max_running=2) is not None

    with ThreadPoolExecutor(4) as workers:
        assert sum(workers.map(claim, range(4))) == 2


def test_a_worker_skips_the_job_that_another_is_claiming(database: Database) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets one claim at a time; the next one sees what it did")
    first, second = queued(database, 2)
    with database.write() as session:
        assert queue.claim_next(session, owner="worker 1", lease_seconds=30) is not None
        assert claim_next(database, "worker 2") == second
    assert the(database, first).lease_owner == "worker 1"


def test_as_many_messages_as_jobs_train_each_job_once(database: Database) -> None:
    """Dispatch messages are interchangeable: each claims the next job, and no job is left over."""
    job_ids = set(queued(database, 6)) | set(queued(database, 6, priority=1))
    start = Barrier(4)

    def claim_dispatched(number: int) -> list[str | None]:
        start.wait()
        return [claim_next(database, f"worker {number}") for _ in range(3)]

    with ThreadPoolExecutor(4) as workers:
        taken = [job_id for claims in workers.map(claim_dispatched, range(4)) for job_id in claims]
    assert len(taken) == 12
    assert set(taken) == job_ids


def test_renewing_extends_the_lease_and_stores_progress(database: Database) -> None:
    [job_id] = queued(database)
    before = claimed(database, job_id)
    with database.write() as session:
        assert queue.renew(session, job_id, 1, lease_seconds=600, progress=HALF_WAY) is None
    after = the(database, job_id)
    assert (after.epochs_done, after.fraction, after.eta_seconds) == (1, 0.5, 12.5)
    assert after.lease_expires_at is not None
    assert before.lease_expires_at is not None
    assert after.lease_expires_at > before.lease_expires_at
    assert after.version == before.version + 1


def test_a_renewal_returns_the_requested_action(database: Database) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        jobs.cancel_job(session, job_id)
    with database.write() as session:
        requested = queue.renew(session, job_id, 1, lease_seconds=30, progress=HALF_WAY)
    assert requested is Action.CANCEL


WRITES: dict[str, Callable[[Session, str, int], object]] = {
    "renew": lambda session, job, attempt: queue.renew(
        session, job, attempt, lease_seconds=30, progress=HALF_WAY
    ),
    "record an epoch": lambda session, job, attempt: queue.record_epoch(
        session, job, attempt, epoch_record(1)
    ),
    "succeed": lambda session, job, attempt: queue.succeed(session, job, attempt, result_record()),
    "fail": lambda session, job, attempt: queue.fail(
        session, job, attempt, code="oops", message="Oops.", retryable=False
    ),
    "stop": queue.stop,
}


def everything(database: Database) -> list[list[tuple[object, ...]]]:
    """All rows that a worker may write."""
    tables = (Job.__table__, Epoch.__table__, Result.__table__, Event.__table__)
    with database.read() as session:
        return [[tuple(row) for row in session.execute(select(table))] for table in tables]


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_was_declared_dead_changes_no_job(database: Database, write: str) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        queue.stop(session, job_id, 1)
    claimed(database, job_id, owner="worker 2")
    before = everything(database)
    with pytest.raises(LeaseLost, match="attempt 1"), database.write() as session:
        WRITES[write](session, job_id, 1)
    assert everything(database) == before


@pytest.mark.parametrize("write", WRITES)
def test_an_ended_job_is_not_changed(database: Database, write: str) -> None:
    job_id = finished_job(database).id
    before = everything(database)
    with pytest.raises(LeaseLost), database.write() as session:
        WRITES[write](session, job_id, 1)
    assert everything(database) == before


def test_succeeding_ends_the_job_with_its_result(database: Database) -> None:
    job = finished_job(database, result=result_record(test_accuracy=0.9876, epochs_run=3), epochs=3)
    assert (job.state, job.epochs_done, job.fraction, job.eta_seconds) == ("succeeded", 3, 1.0, None)
    assert (job.lease_owner, job.lease_expires_at, job.requested_action) == (None, None, None)
    assert job.finished_at is not None
    assert job.result is not None
    assert job.result.test_accuracy == 0.9876
    assert history(database, job.id) == [
        ("queued", None, "queued", 0),
        ("running", "queued", "running", 1),
        ("succeeded", "running", "succeeded", 1),
    ]


def test_failing_ends_the_job_with_its_error(database: Database) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        queue.fail(session, job_id, 1, code="diverged", message="The loss is not finite.", retryable=False)
    job = the(database, job_id)
    assert (job.state, job.error_code, job.error_retryable) == ("failed", "diverged", False)
    assert job.error_message == "The loss is not finite."
    assert job.result is None
    assert history(database, job_id)[-1] == ("failed", "running", "failed", 1)
    with database.read() as session:
        assert jobs.get_events(session, job_id)[-1].detail["code"] == "diverged"


@pytest.mark.parametrize(
    ("action", "state"),
    [
        (Action.CANCEL, JobState.CANCELLED),
        (Action.PAUSE, JobState.PAUSED),
        (Action.RELEASE, JobState.QUEUED),
    ],
)
def test_stopping_does_what_was_requested(database: Database, action: Action, state: JobState) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        session.execute(update(Job).values(requested_action=action))
        assert queue.stop(session, job_id, 1) is state
    job = the(database, job_id)
    assert (job.state, job.requested_action, job.lease_owner) == (state, None, None)
    assert (job.finished_at is not None) == state.terminal
    assert history(database, job_id)[-1] == (state, "running", state, 1)


@pytest.mark.parametrize("requested", [None, *Action])
def test_a_requeued_job_shows_only_the_progress_of_its_checkpoint(
    database: Database, requested: Action | None
) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        queue.mark_dispatched(session, [job_id])
        queue.renew(session, job_id, 1, lease_seconds=30, progress=Progress(3, 0.35, 12.5))
        for epoch in (1, 2, 3):
            queue.record_epoch(session, job_id, 1, epoch_record(epoch))
        session.execute(update(Job).values(checkpoint_epoch=2, epochs=10, requested_action=requested))
    with database.write() as session:
        state = queue.stop(session, job_id, 1)
    job = the(database, job_id)
    with database.read() as session:
        epochs = [epoch.epoch for epoch in jobs.get_epochs(session, job_id)]
    assert job.eta_seconds is None
    if state.terminal:
        assert (job.epochs_done, job.fraction, epochs) == (3, 0.35, [1, 2, 3])
    else:
        assert (job.epochs_done, job.fraction, epochs) == (2, 0.2, [1, 2])
        assert job.dispatched_at is None, "its message was consumed; it needs another"


def test_a_requeued_job_without_a_checkpoint_has_no_progress(database: Database) -> None:
    [job_id], [other] = queued(database), queued(database)
    for queued_id in (job_id, other):
        claimed(database, queued_id)
        with database.write() as session:
            queue.renew(session, queued_id, 1, lease_seconds=30, progress=HALF_WAY)
            queue.record_epoch(session, queued_id, 1, epoch_record(1))
    with database.write() as session:
        queue.stop(session, job_id, 1)
    job = the(database, job_id)
    assert (job.epochs_done, job.fraction, job.eta_seconds) == (0, 0.0, None)
    with database.read() as session:
        assert jobs.get_epochs(session, job_id) == []
        assert len(jobs.get_epochs(session, other)) == 1


def test_the_latest_requested_action_applies_and_not_the_one_the_worker_read(database: Database) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        jobs.pause_job(session, job_id)
    with database.write() as session:
        assert queue.renew(session, job_id, 1, lease_seconds=30, progress=HALF_WAY) is Action.PAUSE
    with database.write() as session:
        jobs.cancel_job(session, job_id)
    with database.write() as session:
        assert queue.stop(session, job_id, 1) is JobState.CANCELLED


@pytest.mark.parametrize("write", ["succeed", "fail"])
def test_an_accepted_cancel_applies_although_the_training_is_done(database: Database, write: str) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        jobs.cancel_job(session, job_id)
    with database.write() as session:
        assert WRITES[write](session, job_id, 1) is JobState.CANCELLED
    with database.read() as session:
        job = jobs.get_job(session, job_id)
        assert (job.state, job.result, job.error_code) == (JobState.CANCELLED, None, None)
        assert [event.to_state for event in jobs.get_events(session, job_id)][-1] == "cancelled"


@pytest.mark.parametrize(("write", "state"), [("succeed", "succeeded"), ("fail", "failed")])
def test_a_pause_comes_too_late_for_a_training_that_is_done(
    database: Database, write: str, state: str
) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    with database.write() as session:
        jobs.pause_job(session, job_id)
    with database.write() as session:
        assert WRITES[write](session, job_id, 1) == state


def test_a_released_job_is_claimed_again_as_the_next_attempt(database: Database) -> None:
    [job_id] = queued(database)
    first = claimed(database, job_id)
    with database.write() as session:
        queue.stop(session, job_id, 1)
    again = claimed(database, job_id, owner="worker 2")
    assert (again.attempt, again.crashes) == (2, 0)
    assert again.started_at == first.started_at


def test_a_later_attempt_replaces_an_epoch(database: Database) -> None:
    [job_id] = queued(database)
    for attempt, loss in ((1, 0.5), (2, 0.25)):
        claimed(database, job_id)
        with database.write() as session:
            queue.record_epoch(session, job_id, attempt, epoch_record(1, train_loss=loss))
            # As after a damaged checkpoint: the next attempt begins before what the row promises.
            session.execute(update(Job).values(checkpoint_epoch=1))
        with database.write() as session:
            queue.stop(session, job_id, attempt)
    with database.read() as session:
        [epoch] = jobs.get_epochs(session, job_id)
    assert (epoch.epoch, epoch.attempt, epoch.train_loss) == (1, 2, 0.25)


def test_epochs_keep_every_digit(database: Database) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    record = epoch_record(1, objective=0.1 + 0.2, validation_loss=None, validation_accuracy=None)
    with database.write() as session:
        queue.record_epoch(session, job_id, 1, record)
    with database.read() as session:
        [epoch] = jobs.get_epochs(session, job_id)
    assert epoch.objective == 0.1 + 0.2
    assert epoch.validation_loss is None


def test_a_write_that_fails_midway_is_rolled_back(database: Database) -> None:
    [job_id] = queued(database)
    claimed(database, job_id)
    before = everything(database)
    with pytest.raises(RuntimeError), database.write() as session:  # noqa: PT012 (the end of the block is tested)
        queue.succeed(session, job_id, 1, result_record())
        raise RuntimeError("the worker's host stops here")
    assert everything(database) == before


def test_dispatch_is_recorded_for_the_passed_jobs(database: Database) -> None:
    dispatched, silent = queued(database, 2)
    with database.write() as session:
        queue.mark_dispatched(session, [dispatched])
    assert the(database, dispatched).dispatched_at is not None
    assert the(database, silent).dispatched_at is None
