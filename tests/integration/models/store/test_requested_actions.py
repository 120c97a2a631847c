"""Actions that owners request (pause, resume, cancel, retry): the same tests on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.errors import Conflict, NotFound
from models.experiments import ExperimentSpec
from models.states import Action, JobState
from models.store import experiments, jobs, queue, queue_positions
from models.store.database import Database
from models.store.jobs import NewJob
from models.store.tables import Job
from tests.factories import finish_job, job_in, job_spec

ENDED = [state for state in JobState if state.terminal]


def request(database: Database, action: Callable[[Session, str], Job], job_id: str) -> Job:
    with database.write() as session:
        return action(session, job_id)


def retry(database: Database, job_id: str) -> tuple[Job, bool]:
    with database.write() as session:
        return jobs.retry_job(session, job_id)


def the(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get_job(session, job_id)


def events(database: Database, job_id: str) -> list[str]:
    with database.read() as session:
        return [event.type for event in jobs.get_events(session, job_id)]


def release_requested(database: Database, job_id: str) -> None:
    """Its worker gets a request to shut down."""
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(lease_owner="worker/1"))
        assert queue.release_all(session, "worker") == 1


def stopped(database: Database, job_id: str) -> JobState:
    with database.write() as session:
        return queue.stop(session, job_id, 1)


def test_a_queued_job_is_paused_immediately_and_not_claimed(database: Database) -> None:
    job_id = job_in(database, JobState.QUEUED)
    assert request(database, jobs.pause_job, job_id).state == JobState.PAUSED
    with database.write() as session:
        assert queue.claim_next(session, owner="worker", lease_seconds=30) is None
    assert events(database, job_id) == ["queued", "paused"]


def test_a_running_job_is_requested_to_pause(database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    job = request(database, jobs.pause_job, job_id)
    assert (job.state, job.requested_action, job.version) == ("running", "pause", 3)
    assert events(database, job_id)[-1] == "pause_requested"
    assert stopped(database, job_id) is JobState.PAUSED


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.PAUSED])
def test_a_second_pause_request_changes_nothing(database: Database, state: JobState) -> None:
    job_id = job_in(database, state)
    first = request(database, jobs.pause_job, job_id)
    before = (first.version, events(database, job_id))
    again = request(database, jobs.pause_job, job_id)
    assert (again.state, again.version, events(database, job_id)) == (state, *before)


def test_a_resumed_job_has_its_old_position_and_needs_a_new_message(database: Database) -> None:
    old, new = job_in(database, JobState.QUEUED), job_in(database, JobState.QUEUED)
    with database.write() as session:
        queue.mark_dispatched(session, [old])
    request(database, jobs.pause_job, old)
    resumed = request(database, jobs.resume_job, old)
    assert (resumed.state, resumed.dispatched_at) == (JobState.QUEUED, None)
    with database.read() as session:
        positions = queue_positions.get_queue_positions(
            session, [jobs.get_job(session, job_id) for job_id in (old, new)]
        )
    assert positions == {old: 1, new: 2}
    assert events(database, old) == ["queued", "paused", "queued"]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_resuming_a_job_that_is_not_paused_changes_nothing(database: Database, state: JobState) -> None:
    job_id = job_in(database, state)
    before = the(database, job_id).version
    resumed = request(database, jobs.resume_job, job_id)
    assert (resumed.state, resumed.version) == (state, before)


def test_resuming_withdraws_a_pending_pause(database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    request(database, jobs.pause_job, job_id)
    resumed = request(database, jobs.resume_job, job_id)
    assert (resumed.state, resumed.requested_action) == ("running", None)
    assert events(database, job_id)[-2:] == ["pause_requested", "pause_withdrawn"]
    # If its worker has already seen the pause, the job is queued for another and does not stay paused.
    assert stopped(database, job_id) is JobState.QUEUED


@pytest.mark.parametrize("action", [jobs.pause_job, jobs.resume_job])
@pytest.mark.parametrize("state", ENDED)
def test_an_ended_job_is_neither_paused_nor_resumed(
    database: Database, state: JobState, action: Callable[[Session, str], Job]
) -> None:
    job_id = job_in(database, state)
    with pytest.raises(Conflict, match=f"already {state}"):
        request(database, action, job_id)


@pytest.mark.parametrize("action", [jobs.pause_job, jobs.resume_job])
def test_a_cancel_is_not_undone(database: Database, action: Callable[[Session, str], Job]) -> None:
    job_id = job_in(database, JobState.RUNNING)
    request(database, jobs.cancel_job, job_id)
    with pytest.raises(Conflict, match="is being cancelled"):
        request(database, action, job_id)
    assert the(database, job_id).requested_action == Action.CANCEL


def test_a_cancel_overrides_a_pause_and_both_override_a_release(database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    release_requested(database, job_id)
    assert request(database, jobs.pause_job, job_id).requested_action == Action.PAUSE
    assert request(database, jobs.cancel_job, job_id).requested_action == Action.CANCEL
    with database.write() as session:
        assert queue.release_all(session, "worker") == 0
    assert stopped(database, job_id) is JobState.CANCELLED


def test_a_second_cancel_request_changes_nothing(database: Database) -> None:
    job_id = job_in(database, JobState.RUNNING)
    first = request(database, jobs.cancel_job, job_id)
    again = request(database, jobs.cancel_job, job_id)
    assert again.version == first.version
    assert events(database, job_id).count("cancel_requested") == 1


@pytest.mark.parametrize("action", [jobs.pause_job, jobs.resume_job, jobs.retry_job])
def test_no_action_can_be_requested_of_an_unknown_job(
    database: Database, action: Callable[[Session, str], Job]
) -> None:
    with pytest.raises(NotFound):
        request(database, action, "job_none")


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_retry_is_a_new_job_of_the_same_specification(database: Database, state: JobState) -> None:
    job_id = job_in(database, state)
    new, is_new = retry(database, job_id)
    old = the(database, job_id)
    assert is_new
    assert (new.state, new.attempt, new.retry_of, new.error_code) == (JobState.QUEUED, 0, job_id, None)
    assert (new.spec, new.spec_hash, new.priority) == (old.spec, old.spec_hash, old.priority)
    assert old.state == state, "terminal states never change"
    assert events(database, new.id) == ["queued"]


def test_a_retry_replaces_the_original_in_the_experiment(database: Database) -> None:
    spec = ExperimentSpec.model_validate({"name": "x", "base": job_spec(), "variants": [{"name": "plain"}]})
    with database.write() as session:
        _, (job,) = experiments.create_experiment(session, spec, preset=None)
        jobs.cancel_job(session, job.id)
    new, _ = retry(database, job.id)
    assert (new.experiment_id, new.variant, new.seed) == (job.experiment_id, "plain", job.seed)


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.FAILED, JobState.CANCELLED}))
def test_only_failed_or_cancelled_jobs_are_retried(database: Database, state: JobState) -> None:
    job_id = job_in(database, state)
    with pytest.raises(Conflict, match=f"is {state}; only"):
        retry(database, job_id)


def test_a_job_that_is_being_retried_is_not_retried_again(database: Database) -> None:
    job_id = job_in(database, JobState.FAILED)
    first, _ = retry(database, job_id)
    again, is_new = retry(database, job_id)
    assert (again.id, is_new) == (first.id, False)


@pytest.mark.parametrize(
    ("ends", "advice"), [("succeeded", "has the result"), ("cancelled", "retry that one")]
)
def test_a_retry_that_has_ended_is_named(database: Database, ends: str, advice: str) -> None:
    job_id = job_in(database, JobState.FAILED)
    first, _ = retry(database, job_id)
    if ends == "succeeded":
        finish_job(database, first.id)
    else:
        request(database, jobs.cancel_job, first.id)
    with pytest.raises(Conflict, match=f"{first.id}, which has {ends}; .*{advice}"):
        retry(database, job_id)


def test_a_retry_can_be_retried(database: Database) -> None:
    job_id = job_in(database, JobState.FAILED)
    first, _ = retry(database, job_id)
    request(database, jobs.cancel_job, first.id)
    second, is_new = retry(database, first.id)
    assert (second.retry_of, is_new) == (first.id, True)


def test_eight_concurrent_retries_get_the_same_job(database: Database) -> None:
    job_id = job_in(database, JobState.FAILED)
    together = Barrier(8)

    def race(_number: int) -> tuple[str, bool]:
        together.wait()
        new, is_new = retry(database, job_id)
        return new.id, is_new

    with ThreadPoolExecutor(8) as owners:
        answers = list(owners.map(race, range(8)))
    assert len({new for new, _ in answers}) == 1
    assert [is_new for _, is_new in answers].count(True) == 1


def test_the_database_itself_lets_a_job_be_retried_once(database: Database) -> None:
    job_id = job_in(database, JobState.FAILED)
    with pytest.raises(IntegrityError), database.write() as session:
        jobs.create_jobs(session, [NewJob(job_spec(), retry_of=job_id)] * 2)


def test_a_retry_and_its_original_can_each_be_deleted(database: Database) -> None:
    job_id = job_in(database, JobState.FAILED)
    first, _ = retry(database, job_id)
    request(database, jobs.cancel_job, first.id)
    request(database, jobs.delete_job, first.id)
    second, is_new = retry(database, job_id)
    assert is_new
    request(database, jobs.delete_job, job_id)
    assert the(database, second.id).retry_of is None
