"""What goes on in the installation: who waits, what ended lately, and why jobs failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from models.states import JobState
from models.store.sql_functions import DatabaseNow
from models.store.tables import Job

HOURS = 24


@dataclass(frozen=True)
class OwnerLoad:
    """An owner's unfinished jobs that are not paused."""

    owner: str
    running: int
    queued: int


@dataclass(frozen=True)
class Failures:
    """Jobs of one owner that failed for one reason."""

    owner: str
    code: str
    jobs: int


def count_load(session: Session) -> list[OwnerLoad]:
    """The jobs that run and wait, by owner; of the owner whose rows the session is limited to, if any."""
    query = select(Job.owner, Job.state, func.count()).group_by(Job.owner, Job.state)
    counts: dict[str, dict[str, int]] = {}
    for owner, state, count in session.execute(query.where(Job.state.in_(_LOAD))):
        counts.setdefault(owner, dict.fromkeys(_LOAD, 0))[state] = count
    return [OwnerLoad(owner, *by_state.values()) for owner, by_state in sorted(counts.items())]


def count_ends_by_hour(session: Session) -> list[int]:
    """How many jobs succeeded in each of the last 24 hours, the oldest first."""
    ends = [func.count(case((Job.finished_at > DatabaseNow(-3600.0 * age), 1))) for age in range(HOURS + 1)]
    counts = session.execute(select(*ends).where(Job.state == JobState.SUCCEEDED, _IS_RECENT)).one()
    return [later - earlier for earlier, later in pairwise(counts)][::-1]


def count_failures(session: Session) -> list[Failures]:
    """The failures of the last 24 hours by owner and reason, the most frequent first."""
    count = func.count().label("jobs")
    query = select(Job.owner, Job.error_code, count).where(Job.state == JobState.FAILED, _IS_RECENT)
    query = query.group_by(Job.owner, Job.error_code).order_by(count.desc(), Job.owner, Job.error_code)
    return [Failures(owner, code or "", jobs) for owner, code, jobs in session.execute(query)]


def find_failures(session: Session, *, limit: int) -> Sequence[Job]:
    """The latest of the jobs that failed in the last 24 hours."""
    query = select(Job).where(Job.state == JobState.FAILED, _IS_RECENT)
    return session.scalars(query.order_by(Job.finished_at.desc(), Job.id).limit(limit)).all()


_LOAD = (JobState.RUNNING, JobState.QUEUED)
_IS_RECENT = Job.finished_at > DatabaseNow(-3600.0 * HOURS)
