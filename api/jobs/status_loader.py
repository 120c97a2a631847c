"""Looks at single jobs: whoever asks while a query is under way shares the next one with all who do."""

import asyncio

from starlette.concurrency import run_in_threadpool

from models.errors import NotFound
from models.store.database import Database
from models.store.job_status import Glance, look

_TURNS_TO_JOIN = 4
"""Of the event loop, before a look begins: some tens of microseconds."""


class Looks:
    """Jobs at a glance, for many requests at once. Used from its event loop only.

    A look begins after it was asked for, so that everybody sees what was committed before they asked.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[str, asyncio.Future[Glance | None]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def at(self, job_id: str, *, owner: str | None) -> Glance:
        """The job, if it is `owner`'s; None: anybody's.

        Raises:
            NotFound: there is no such job, or it is another's.
            ServiceUnavailable: the database cannot be reached.
        """
        found: asyncio.Future[Glance | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((job_id, found))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        job = await found
        if job is None or owner not in (None, job.owner):
            raise NotFound(f"There is no job {job_id}.")
        return job

    async def _look(self) -> None:
        while self._waiting:
            # Let who has just been answered ask again: one look for sixteen costs little more than for one.
            for _ in range(_TURNS_TO_JOIN):
                await asyncio.sleep(0)
            waiting, self._waiting = self._waiting, []
            jobs: dict[str, Glance] = {}
            fault: Exception | None = None
            try:
                jobs = await run_in_threadpool(look, self._database, {job_id for job_id, _ in waiting})
            except Exception as error:
                fault = error
            for job_id, found in waiting:
                if found.cancelled():
                    continue
                if fault:
                    found.set_exception(fault)
                else:
                    found.set_result(jobs.get(job_id))
        self._looking = None
