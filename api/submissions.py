"""Jobs that are submitted at once: whoever comes while others are stored shares the next transaction."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from typing import Annotated

from fastapi import BackgroundTasks, Depends, Request, Response

from api.bells import Bells
from api.http.idempotency import Once
from api.jobs import serializers as job_serializers
from models.errors import RegbenchError, ServiceUnavailable
from models.store import jobs as store
from models.store.database import Database
from models.store.jobs import NewJob


@dataclass(frozen=True)
class _Submission:
    new: NewJob
    once: Once
    stored: Future[tuple[str, Response]] = field(default_factory=Future)


@dataclass(frozen=True)
class _Line:
    """The submissions of one owner that wait for the next transaction, and the turn to store them."""

    waiting: list[_Submission] = field(default_factory=list)
    turn: Lock = field(default_factory=Lock)


class Submissions:
    """Stores the jobs of many requests in one transaction, which costs little more than one job's.

    Each request waits in its own thread until its job is committed; one of them stores for all. Jobs of one
    owner only, so that nobody waits for another's quota. Owners are as few as those who have keys.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lines: dict[str, _Line] = {}
        self._lock = Lock()

    def store(self, new: NewJob, once: Once) -> tuple[str, Response]:
        """Store a job and what `once` remembers; returns its id and the answer, both committed.

        Raises:
            OverQuota: it is more than its owner may have.
            UnderWay: see `Once.answer`.
            ServiceUnavailable: the database cannot be reached.
        """
        mine = _Submission(new, once)
        with self._lock:
            line = self._lines.setdefault(new.owner, _Line())
            line.waiting.append(mine)
        with line.turn:
            if not mine.stored.done():
                self._store_all(line)
        return mine.stored.result()

    def _store_all(self, line: _Line) -> None:
        with self._lock:
            waiting = line.waiting.copy()
            line.waiting.clear()
        try:
            found = self._stored(waiting)
        except BaseException as error:
            if len(waiting) > 1 and _is_refusal(error):
                self._store_each(waiting)
            else:
                _tell(waiting, error)
        else:
            for each, answer in zip(waiting, found, strict=True):
                each.stored.set_result(answer)

    def _store_each(self, waiting: Sequence[_Submission]) -> None:
        """Store one by one, so that what is refused to one is not refused to the others."""
        for number, each in enumerate(waiting):
            try:
                (answer,) = self._stored([each])
            except BaseException as error:
                if not _is_refusal(error):
                    _tell(waiting[number:], error)
                    return
                each.stored.set_exception(error)
            else:
                each.stored.set_result(answer)

    def _stored(self, waiting: Sequence[_Submission]) -> list[tuple[str, Response]]:
        with self._database.write() as session:
            jobs = store.create_jobs(session, [each.new for each in waiting])
            places = store.queue_positions(session, jobs)
            found = []
            for each, job in zip(waiting, jobs, strict=True):
                body = job_serializers.job_details(job, places.get(job.id))
                answer = each.once.answer(session, body, HTTPStatus.ACCEPTED, {"Location": body.links.self})
                found.append((job.id, answer))
        return found


def _is_refusal(error: BaseException) -> bool:
    """Whether this is about one job, and was raised before anything was committed."""
    return isinstance(error, RegbenchError) and not isinstance(error, ServiceUnavailable)


def _tell(waiting: Sequence[_Submission], error: BaseException) -> None:
    for each in waiting:
        each.stored.set_exception(error)


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
