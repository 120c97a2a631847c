"""A batching loader (the DataLoader pattern): requests that arrive during a query share the next one."""

import asyncio

from starlette.concurrency import run_in_threadpool

from models.errors import NotFound
from models.store.database import Database
from models.store.job_status import JobStatus, fetch_statuses

_BATCHING_TURNS = 4
"""Turns of the event loop to wait for more requests before a query: some tens of microseconds."""


class JobStatusLoader:
    """Loads the status of jobs for many requests at once. Used from its event loop only.

    A query begins after the requests it serves, so that each sees what was committed before it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[str, asyncio.Future[JobStatus | None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def load(self, job_id: str, *, owner: str | None) -> JobStatus:
        """The status of a job of `owner` (None: of any owner).

        Raises:
            NotFound: there is no such job, or it is another's.
            ServiceUnavailable: the database cannot be reached.
        """
        status: asyncio.Future[JobStatus | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((job_id, status))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        job = await status
        if job is None or owner not in (None, job.owner):
            raise NotFound(f"There is no job {job_id}.")
        return job

    async def _run(self) -> None:
        while self._waiting:
            # Let clients that were just answered join: a query for sixteen costs little more than for one.
            for _ in range(_BATCHING_TURNS):
                await asyncio.sleep(0)
            waiting, self._waiting = self._waiting, []
            jobs: dict[str, JobStatus] = {}
            failure: Exception | None = None
            try:
                jobs = await run_in_threadpool(
                    fetch_statuses, self._database, {job_id for job_id, _ in waiting}
                )
            except Exception as error:
                failure = error
            for job_id, status in waiting:
                if status.cancelled():
                    continue
                if failure:
                    status.set_exception(failure)
                else:
                    status.set_result(jobs.get(job_id))
        self._task = None
