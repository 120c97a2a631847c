"""How jobs have ended, read from the database when all is over."""

import time
from collections.abc import Callable, Mapping
from itertools import pairwise

from models.spec import JobSpec
from models.states import JobState, can_follow
from models.store import jobs
from models.store.database import Database
from models.store.tables import Event, Job
from tests.chaos.fault_log import Tally
from tests.chaos.quick_worker import weights

DEADLINE_SECONDS = 240


def wait_until(condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Poll until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def all_ended(database: Database, job_ids: list[str]) -> bool:
    """Whether each of these jobs has ended."""
    with database.read() as session:
        return all(JobState(job.state).terminal for job in jobs.get_jobs(session, job_ids))


def count(
    database: Database,
    tally: Tally,
    expected: Mapping[str, JobState],
    weights_of: Callable[[JobSpec], str] = weights,
) -> None:
    """Add the outcomes of these jobs to the tally; each should have ended in its `expected` state.

    `weights_of` gives the digest that a specification's weights must have.
    """
    with database.read() as session:
        stored = jobs.get_jobs(session, [*expected])
        histories = {job.id: jobs.get_events(session, job.id) for job in stored}
        epochs = {job.id: [epoch.epoch for epoch in jobs.get_epochs(session, job.id)] for job in stored}
    for job in stored:
        tally.jobs += 1
        tally.lost += not _ended_well(job, expected[job.id], histories[job.id], epochs[job.id])
        tally.doubled += _doubled(job, histories[job.id])
        tally.wrong += job.result is not None and job.result.weights_sha256 != weights_of(
            JobSpec.model_validate(job.spec)
        )


def _ended_well(job: Job, expected: JobState, history: list[Event], epochs: list[int]) -> bool:
    moves = [event.to_state for event in history if event.to_state]
    steps = pairwise(JobState(state) for state in moves)
    complete = expected is not JobState.SUCCEEDED or epochs == [*range(1, job.epochs_done + 1)]
    return job.state == expected == moves[-1] and all(can_follow(*step) for step in steps) and complete


def _doubled(job: Job, history: list[Event]) -> bool:
    """Whether it has ended twice, or was started again while an attempt ran or without being counted."""
    moves = [JobState(event.to_state) for event in history if event.to_state]
    attempts = [event.attempt for event in history if event.to_state == JobState.RUNNING]
    begun_twice = (JobState.RUNNING, JobState.RUNNING) in pairwise(moves)
    return (
        begun_twice or sum(state.terminal for state in moves) > 1 or attempts != [*range(1, job.attempt + 1)]
    )
