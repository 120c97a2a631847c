"""Jobs that are submitted at once: whoever comes while others are stored shares the next transaction."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from typing import Annotated

from fastapi import BackgroundTasks, Depends, Request, Response

from api import answers
from api.bells import Bells
from api.idempotency import Once
from models.database import Database
from models.errors import ServiceUnavailable
from models.store import jobs as store
from models.store.jobs import NewJob


@dataclass(frozen=True)
class _Submission:
    new: NewJob
    once: Once
    stored: Future[tuple[str, Response]] = field(default_factory=Future)


class Submissions:
    """Stores the jobs of many requests in one transaction, which costs little more than one job's.

    Each request waits in its own thread until its job is committed; one of them stores for all.
    """

    def __init__(self, database: Database) -> None:
        """`database` must be everybody's: jobs of several owners are stored together."""
        self._database = database
        self._waiting: list[_Submission] = []
        self._lock, self._turn = Lock(), Lock()

    def store(self, new: NewJob, once: Once) -> tuple[str, Response]:
        """Store a job and what `once` remembers; returns its id and the answer, both committed.

        Raises:
            OverQuota: it is more than its owner may have.
            UnderWay: see `Once.answer`.
            ServiceUnavailable: the database cannot be reached.
        """
        mine = _Submission(new, once)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.stored.done():
                self._store_all()
        return mine.stored.result()

    def _store_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        try:
            found = self._stored(waiting)
        except BaseException as error:
            self._without_each_other(waiting, error)
        else:
            for each, answer in zip(waiting, found, strict=True):
                each.stored.set_result(answer)

    def _without_each_other(self, waiting: Sequence[_Submission], error: BaseException) -> None:
        """Store one by one, so that what is refused to one is not refused to the others."""
        if len(waiting) == 1 or isinstance(error, ServiceUnavailable):
            for each in waiting:
                each.stored.set_exception(error)
            return
        for each in waiting:
            try:
                each.stored.set_result(*self._stored([each]))
            except BaseException as own:
                each.stored.set_exception(own)

    def _stored(self, waiting: Sequence[_Submission]) -> list[tuple[str, Response]]:
        with self._database.write() as session:
            jobs = store.create_jobs(session, [each.new for each in waiting])
            places = store.queue_positions(session, jobs)
            found = []
            for each, job in zip(waiting, jobs, strict=True):
                body = answers.job_details(job, places.get(job.id))
                answer = each.once.answer(session, body, HTTPStatus.ACCEPTED, {"Location": body.links.self})
                found.append((job.id, answer))
        return found


async def _submit(request: Request, background: BackgroundTasks) -> Callable[[NewJob, Once], Response]:
    """Stores a job, and rings for it after the answer."""
    submissions: Submissions = request.app.state.submissions
    bells: Bells = request.app.state.bells

    def submit(new: NewJob, once: Once) -> Response:
        job_id, answer = submissions.store(new, once)
        background.add_task(bells.ring, [job_id])
        return answer

    return submit


SubmitDep = Annotated[Callable[[NewJob, Once], Response], Depends(_submit)]
