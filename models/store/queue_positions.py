"""The positions of queued jobs, as claims will take them: owners in turn (models/store/turns.py)."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, case, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from models.states import JobState
from models.store.database import UNFILTERED
from models.store.tables import Job, is_queued, select_queued_owner
from models.store.turns import find_owners_in_turn


def get_queue_positions(session: Session, jobs: Sequence[Job | Row[Any]]) -> dict[str, int]:
    """The positions in the queue of those of the jobs that are queued; 1 is next."""
    queued = [job.id for job in jobs if job.state == JobState.QUEUED]
    return _load_positions(session, queued) if queued else {}


def get_queue_position(session: Session, job_id: str) -> int | None:
    """The position of one job in the queue; None if it is not in it."""
    return _load_positions(session, [job_id]).get(job_id)


def _load_positions(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    ranks = _load_ranks(session, job_ids)
    owners = find_owners_in_turn(session) if ranks else []
    if len(owners) <= 1:
        return {job_id: rank for job_id, (_, rank) in ranks.items()}
    query = select(Job.owner, func.count()).where(is_queued(Job.state)).group_by(Job.owner)
    counts: dict[str, int] = dict(session.execute(query.execution_options(**UNFILTERED)).all())
    turns = {owner: turn for turn, owner in enumerate(owners)}
    return {job_id: _merge(owner, rank, counts, turns) for job_id, (owner, rank) in ranks.items()}


def _merge(owner: str, rank: int, counts: Mapping[str, int], turns: Mapping[str, int]) -> int:
    """The position of an owner's job: before its turn, the others have had `rank` turns each, or one less."""
    own_turn = turns.get(owner, 0)
    return rank + sum(
        min(count, rank - (turns.get(other, own_turn) > own_turn))
        for other, count in counts.items()
        if other != owner
    )


def _load_ranks(session: Session, job_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Each job's owner and its place among that owner's queued jobs.

    Counted in an index from each job to the next, so that no range is counted twice.
    """
    ranks: dict[str, tuple[str, int]] = {}
    owner, rank = None, 0
    for row in session.execute(_select_ranges(), {"ids": job_ids}):
        rank = row.length + (rank if row.owner == owner else 0)
        owner = row.owner
        ranks[row.id] = (row.owner, rank)
    return ranks


@cache
def _select_ranges() -> Select[Any]:
    """For some queued jobs, by owner, first to last: how many of the owner's there are after the one before,
    up to and with each.
    """
    mine = (
        select(
            Job.id,
            Job.owner,
            Job.priority,
            Job.created_at,
            *(
                func.lag(column)
                .over(partition_by=Job.owner, order_by=_QUEUE_ORDER)
                .label(f"{column.key}_before")
                for column in (Job.priority, Job.created_at, Job.id)
            ),
        )
        .where(is_queued(Job.state), Job.id.in_(bindparam("ids", expanding=True)))
        .cte("mine")
    )
    earlier = aliased(Job)
    position = tuple_(earlier.created_at, earlier.id)
    upto = position <= tuple_(mine.c.created_at, mine.c.id)
    beyond = position > tuple_(mine.c.created_at_before, mine.c.id_before)
    higher = func.coalesce(mine.c.priority_before, _ABOVE_ALL)

    def waiting(*where: ColumnElement[bool]) -> ColumnElement[int]:
        queued_owner = select_queued_owner(earlier.state, earlier.owner)
        count = select(func.count()).where(queued_owner == mine.c.owner, *where)
        return count.scalar_subquery()

    # Each part is one range of ix_jobs_next_of_owner; together they are read once.
    length = case(
        (
            mine.c.priority_before == mine.c.priority,
            waiting(earlier.priority == mine.c.priority, upto, beyond),
        ),
        else_=waiting(earlier.priority == mine.c.priority_before, beyond)
        + waiting(earlier.priority > mine.c.priority, earlier.priority < higher)
        + waiting(earlier.priority == mine.c.priority, upto),
    )
    return (
        select(mine.c.id, mine.c.owner, length.label("length"))
        .order_by(mine.c.owner, mine.c.priority.desc(), mine.c.created_at, mine.c.id)
        .execution_options(**UNFILTERED)
    )


_QUEUE_ORDER = (Job.priority.desc(), Job.created_at, Job.id)
_ABOVE_ALL = 2**31 - 1
