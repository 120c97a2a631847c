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
    lasted = 0.0
    # No broker is needed: no dispatch message is sent.
    settings = database_settings.model_copy(update={"broker_url": "redis+socket:///no/such/redis.sock"})
    with api(settings, tmp_path / "api.log") as (_, client), ThreadPoolExecutor(2) as racers:
        for _ in range(500 if full else 60):
            with database.write() as session:
                (job,) = jobs.create_jobs(session, [jobs.NewJob(_SPEC)])
            together = Barrier(2)
            # A request and a whole attempt take some milliseconds each, and more on a busy machine: the
            # cancel may hit any phase.
            trained = racers.submit(_train, database, together, random.uniform(0.0, 0.02))
            cancelled = racers.submit(
                _cancel, client, job.id, together, random.uniform(0.0, max(0.04, 1.5 * lasted))
            )
            started = time.monotonic()
            trained.result()
            lasted = time.monotonic() - started
            statuses[job.id] = cancelled.result()
            tally.faults += 1
    for job_id, status in statuses.items():
        _count(database, tally, job_id, status)
    # Every status occurred, else the two did not overlap in every phase.
    assert {*statuses.values()} == {200, 202, 409}


def _train(database: Database, together: Barrier, delay_seconds: float) -> None:
    """A worker's steps without the training."""
    together.wait()
    time.sleep(delay_seconds)
    with database.write() as session:
        job = queue.claim_next(session, owner="worker", lease_seconds=3600.0)
    if job is None:
        return
    with database.write() as session:
        queue.record_epoch(session, job.id, job.attempt, epoch_record(1))
    with database.write() as session:
        queue.succeed(session, job.id, job.attempt, _RESULT)


def _cancel(client: httpx.Client, job_id: str, together: Barrier, delay_seconds: float) -> int:
    together.wait()
    time.sleep(delay_seconds)
    return client.post(f"/v1/jobs/{job_id}/cancel").status_code


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
