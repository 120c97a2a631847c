"""Queries that run often must not sort or read the whole table as it grows."""

from sqlalchemy import Select, select, text
from sqlalchemy.orm import Session

from models.database import Database
from models.store.queue import waiting
from models.tables import Job

NEWEST = select(Job.id).order_by(Job.created_at.desc(), Job.id.desc()).limit(50)


def _plan(session: Session, query: Select[str]) -> str:
    dialect = session.get_bind().dialect
    on_sqlite = dialect.name == "sqlite"
    written = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    if not on_sqlite:
        # On an empty table a scan and a sort would be cheapest: what the index allows is asked here.
        session.execute(text("SET LOCAL enable_seqscan = off"))
        session.execute(text("SET LOCAL enable_bitmapscan = off"))
    rows = session.execute(text(f"EXPLAIN {'QUERY PLAN' if on_sqlite else ''} {written}"))
    return "\n".join(str(row[-1]) for row in rows)


def _sorts(plan: str) -> bool:
    return "TEMP B-TREE" in plan or "Sort" in plan


def test_the_next_job_is_read_from_its_index_in_order(database: Database) -> None:
    with database.read() as session:
        plan = _plan(session, waiting().limit(1))
    assert "ix_jobs_next" in plan
    assert not _sorts(plan), plan


def test_the_newest_jobs_are_read_from_their_index_in_order(database: Database) -> None:
    with database.read() as session:
        plan = _plan(session, NEWEST)
    assert "ix_jobs_created_at_id" in plan
    assert not _sorts(plan), plan
