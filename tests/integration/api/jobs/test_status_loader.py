"""Statuses of single jobs, loaded for many requests at once."""

import asyncio
import threading

import pytest

from api.jobs import status_loader
from api.jobs.status_loader import JobStatusLoader
from models.errors import NotFound, ServiceUnavailable
from models.states import JobState
from models.store.database import Database
from models.store.job_status import JobStatus
from tests.factories import finished_job, job_in
from tests.integration.api.jobs.test_updates import advance, queries


def test_requests_during_a_query_share_the_next_query(database: Database) -> None:
    jobs = [job_in(database, JobState.RUNNING), finished_job(database).id]
    ours = JobStatusLoader(database)

    async def play() -> list[JobStatus]:
        return await asyncio.gather(*(ours.load(jobs[number % 2], owner=None) for number in range(50)))

    with queries(database) as seen:
        statuses = asyncio.run(play())
    assert [job.id for job in statuses] == jobs * 25
    assert len(seen) == 1


def test_a_load_sees_what_was_committed_before_it_was_requested(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = job_in(database, JobState.RUNNING)
    ours = JobStatusLoader(database)
    read = status_loader.fetch_statuses

    def slow(*arguments: object) -> dict[str, JobStatus]:
        statuses = read(*arguments)  # type: ignore[arg-type]  # passed on unchanged
        if statuses[job_id].epochs_done == 0:
            advance(database, job_id, 1)
            loop.call_soon_threadsafe(begin_second)
            assert second_requested.wait(5)
        return statuses

    async def play() -> tuple[int, int]:
        first = await ours.load(job_id, owner=None)
        return first.epochs_done, (await second[0]).epochs_done

    second_requested = threading.Event()
    second: list[asyncio.Task[JobStatus]] = []

    def begin_second() -> None:
        second.append(loop.create_task(ours.load(job_id, owner=None)))
        loop.call_soon(second_requested.set)

    monkeypatch.setattr(status_loader, "fetch_statuses", slow)
    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(play()) == (0, 1)
    finally:
        loop.close()


def test_missing_jobs_and_jobs_of_other_owners_raise_not_found(database: Database) -> None:
    ours = JobStatusLoader(database)
    job_id = finished_job(database).id

    async def play() -> None:
        owner = (await ours.load(job_id, owner=None)).owner
        assert (await ours.load(job_id, owner=owner)).id == job_id
        for unseen, by in (("job_unknown", None), (job_id, "somebody else")):
            with pytest.raises(NotFound):
                await ours.load(unseen, owner=by)

    asyncio.run(play())


def test_an_error_reaches_all_waiting_requests_and_the_next_load_may_succeed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = finished_job(database).id
    ours = JobStatusLoader(database)

    def away(*_: object) -> dict[str, JobStatus]:
        raise ServiceUnavailable("away")

    async def play() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(status_loader, "fetch_statuses", away)
            outcomes = await asyncio.gather(
                *(ours.load(job_id, owner=None) for _ in range(3)), return_exceptions=True
            )
            assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 3
        assert (await ours.load(job_id, owner=None)).id == job_id

    asyncio.run(play())


def test_a_cancelled_request_does_not_affect_the_others(database: Database) -> None:
    job_id = finished_job(database).id
    ours = JobStatusLoader(database)

    async def play() -> None:
        impatient, patient = (asyncio.create_task(ours.load(job_id, owner=None)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).id == job_id
        assert impatient.cancelled() or impatient.cancelling()

    asyncio.run(play())
