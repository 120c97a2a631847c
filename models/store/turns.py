"""Owners take turns at the queue, so that no owner's thousand jobs delay another's one.

Each claim serves the owner who was served longest ago; among those who were never served, the one whose next
job is the oldest. Within an owner the order is that of priority and age.
"""

from functools import cache

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from models.states import JobState
from models.store.database import UNFILTERED
from models.store.quotas import try_advisory_lock
from models.store.service_tables import Turn
from models.store.tables import Job, select_queued_owner


def find_owners_in_turn(session: Session, *, max_running: int = 0) -> list[str]:
    """The owners who have queued jobs, next one first, without those who have `max_running` running jobs."""
    query = _select_owners_in_turn(limited=bool(max_running))
    return list(session.scalars(query, {"max_running": max_running} if max_running else {}))


@cache
def _select_owners_in_turn(*, limited: bool) -> Select[str]:
    """Kept, because building it takes longer than all else that a queued job's GET does."""
    # From one owner to the next in the index: distinct owners would be found by reading every queued job.
    queued_owner = select_queued_owner(Job.state, Job.owner)
    waiting = select(func.min(queued_owner).label("owner")).where(queued_owner.is_not(None))
    owners = waiting.cte("owners", recursive=True)
    later = aliased(Job)
    later_owner = select_queued_owner(later.state, later.owner)
    following = select(func.min(later_owner)).where(later_owner > owners.c.owner)
    owners = owners.union_all(
        select(following.scalar_subquery()).where(owners.c.owner.is_not(None)).select_from(owners)
    )
    candidate = aliased(Job)
    next_created_at = (
        select(candidate.created_at)
        .where(select_queued_owner(candidate.state, candidate.owner) == owners.c.owner)
        .order_by(candidate.priority.desc(), candidate.created_at, candidate.id)
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(owners.c.owner)
        .outerjoin(Turn, Turn.owner == owners.c.owner)
        .where(owners.c.owner.is_not(None))
        .order_by(func.coalesce(Turn.served, 0), next_created_at, owners.c.owner)
        .execution_options(**UNFILTERED)
    )
    if limited:
        running = aliased(Job)
        busy = (
            select(running.owner)
            .where(running.state == JobState.RUNNING)
            .group_by(running.owner)
            .having(func.count() >= bindparam("max_running"))
        )
        query = query.where(owners.c.owner.not_in(busy))
    return query


def record_turn(session: Session, owner: str) -> None:
    """Record that `owner` was served last; not where another worker is recording the same."""
    if not try_advisory_lock(session, f"turn {owner}"):
        return
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    # A number, and no moment: a clock that is set back would make its owner wait.
    latest = select(func.coalesce(func.max(Turn.served), 0) + 1).scalar_subquery()
    new = insert(Turn).values(owner=owner, served=latest)
    session.execute(
        new.on_conflict_do_update(index_elements=[Turn.owner], set_={"served": new.excluded.served})
    )
