"""Cancel against completion: the job ends once, and as the response said."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Barrier

import httpx

from models.settings import Settings
from models.states import JobState
from models.store import jobs, queue
from models.store.database import Database
from models.store.tables import Job
from models.store.transitions import get_job
from tests.chaos.fault_log import Tally
from tests.chaos.services import api
from tests.factories import epoch_record, job_spec, result_record

# What each answer promises.
PROMISED = {200: JobState.CANCELLED, 202: JobState.CANCELLED, 409: JobState.SUCCEEDED}
_SPEC, _RESULT = job_spec(), result_record(epochs_run=1)


def test_a_cancel_races_the_jobs_completion(
    database: Database, database_settings: Settings, tally: Tally, full: bool, random: Random, tmp_path: Path
) -> None:
    statuses: dict[str, int] = {}
    rounds, request_seconds = 500 if full else 20, 0.02
    # No broker is needed: no dispatch message is sent.
    settings = database_settings.model_copy(update={"broker_url": "redis+socket:///no/such/redis.sock"})
    with api(settings, tmp_path / "api.log") as (_, client), ThreadPoolExecutor(2) as racers:
        # How long an attempt and a request take depends on the machine: rounds are added until the cancel has
        # come before, during and after an attempt.
        while len(statuses) < rounds or (
            {*statuses.values()} != set(PROMISED) and len(statuses) < 10 * rounds
        ):
            with database.write() as session:
                (job,) = jobs.create_jobs(session, [jobs.NewJob(_SPEC)])
            together = Barrier(2)
            step_seconds = random.uniform(0.0, 2 * request_seconds)
            trained = racers.submit(_train, database, together, step_seconds)
            cancelled = racers.submit(
                _cancel, client, job.id, together, random.uniform(0.0, 4 * step_seconds)
            )
            statuses[job.id], request_seconds = cancelled.result()
            trained.result()
            tally.faults += 1
    for job_id, status in statuses.items():
        _count(database, tally, job_id, status)
    assert {*statuses.values()} == set(PROMISED)


def _train(database: Database, together: Barrier, step_seconds: float) -> None:
    """A worker's steps without the training, `step_seconds` before each of them."""
    together.wait()
    time.sleep(step_seconds)
    with database.write() as session:
        job = queue.claim_next(session, owner="worker", lease_seconds=3600.0)
    if job is None:
        return
    time.sleep(step_seconds)
    with database.write() as session:
        queue.record_epoch(session, job.id, job.attempt, epoch_record(1))
    time.sleep(step_seconds)
    with database.write() as session:
        queue.succeed(session, job.id, job.attempt, _RESULT)


def _cancel(client: httpx.Client, job_id: str, together: Barrier, delay_seconds: float) -> tuple[int, float]:
    """The status and the seconds of a cancel."""
    together.wait()
    time.sleep(delay_seconds)
    started = time.monotonic()
    status = client.post(f"/v1/jobs/{job_id}/cancel").status_code
    return status, time.monotonic() - started


def _count(database: Database, tally: Tally, job_id: str, status: int) -> None:
    with database.read() as session:
        job = get_job(session, job_id)
        ends = [event for event in jobs.get_events(session, job_id) if _is_end(event.to_state)]
    tally.jobs += 1
    tally.doubled += len(ends) > 1
    tally.lost += not _as_promised(job, status, [event.to_state for event in ends])


def _is_end(state: str | None) -> bool:
    return state is not None and JobState(state).terminal


def _as_promised(job: Job, status: int, ends: list[str | None]) -> bool:
    promised = PROMISED[status]
    return job.state == promised and promised in ends and (job.result is not None) == (status == 409)
