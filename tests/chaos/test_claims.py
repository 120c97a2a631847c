"""Many processes claim at once, and no job has two of them."""

import subprocess
import sys
from collections import Counter
from contextlib import ExitStack

from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.job_search import JobFilter, find_jobs
from tests.chaos.fault_log import Tally
from tests.factories import job_spec

DEADLINE_SECONDS = 300


def test_every_job_is_claimed_by_exactly_one_process(database: Database, tally: Tally, full: bool) -> None:
    processes, count = (16, 1000) if full else (4, 40)
    with database.write() as session:
        created = [job.id for job in jobs.create_jobs(session, [jobs.NewJob(job_spec())] * count)]
    claims = _race(processes)
    claim_counts = Counter(job_id for ids in claims for job_id in ids)
    with database.read() as session:
        stored = {job.id: job for job in find_jobs(session, JobFilter(), after=None, limit=count + 1)}
        events = {job_id: [event.type for event in jobs.get_events(session, job_id)] for job_id in stored}
    tally.faults, tally.jobs = processes, len(stored)
    for job_id in created:
        job = stored.pop(job_id)
        if job.state != JobState.RUNNING or not claim_counts[job_id]:
            tally.lost += 1
        if claim_counts[job_id] > 1 or job.attempt > 1 or events[job_id].count("running") > 1:
            tally.doubled += 1
    assert not stored, "jobs that nobody created"
    # Had one process claimed all jobs before the others began, the test would prove nothing.
    assert all(claims)


def _race(processes: int) -> list[list[str]]:
    """The ids that each process has claimed."""
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.claimer", f"claimer {number}"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(processes)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        # Two starts: each process has its first job before any of them may take the rest.
        _release(racers)
        first = [racer.stdout.readline().split() for racer in racers if racer.stdout is not None]
        _release(racers)
        rest = [racer.communicate(timeout=DEADLINE_SECONDS)[0].split() for racer in racers]
        assert [racer.returncode for racer in racers] == [0] * processes
    return [first_ids + ids for first_ids, ids in zip(first, rest, strict=True)]


def _release(racers: list[subprocess.Popen[str]]) -> None:
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
