"""Queries that run often must not sort or read the whole table as it grows."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Select, event, select, text
from sqlalchemy.orm import Session

from models.dataset_cards import DatasetContent
from models.dataset_spec import DatasetSpec
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.job_search import Cursor, JobFilter, SortOrder, find_jobs
from models.store.queue import select_claimable
from models.store.queue_positions import get_queue_position
from models.store.report_data import load_dataset_uses
from models.store.tables import Job
from models.store.turns import find_owners_in_turn
from tests.factories import finished_job, job_spec

NEWEST = select(Job.id).order_by(Job.created_at.desc(), Job.id.desc()).limit(50)


def _plan(session: Session, query: Select[str]) -> str:
    """The database's plan; some operations are disabled for the transaction of `session` only."""
    dialect = session.get_bind().dialect
    on_sqlite = dialect.name == "sqlite"
    written = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    if not on_sqlite:
        # On an empty table a scan and a sort would be cheapest: here only the index may be used.
        session.execute(text("SET LOCAL enable_seqscan = off"))
        session.execute(text("SET LOCAL enable_bitmapscan = off"))
    rows = session.execute(text(f"EXPLAIN {'QUERY PLAN' if on_sqlite else ''} {written}"))
    return "\n".join(str(row[-1]) for row in rows)


def _sorts(plan: str) -> bool:
    return "TEMP B-TREE" in plan or "Sort" in plan


def test_the_next_job_is_read_from_its_index_in_order(database: Database) -> None:
    with database.write() as session:
        plan = _plan(session, select_claimable().limit(1))
    assert "ix_jobs_next" in plan
    assert not _sorts(plan), plan


def test_the_owners_next_job_and_the_owners_in_turn_are_read_from_an_index(database: Database) -> None:
    with database.write() as session:
        plan = _plan(session, select_claimable("ann").limit(1))
    assert "ix_jobs_next_of_owner" in plan
    assert not _sorts(plan), plan
    (plan,) = _plans(database, find_owners_in_turn)
    assert plan.count("ix_jobs_next_of_owner") >= 2, plan
    assert "SCAN jobs" not in plan
    assert "Seq Scan on jobs" not in plan


def test_an_owners_next_job_is_read_in_order_where_the_statistics_are_older_than_the_queue(
    database: Database,
) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite plans by its indexes")
    finished_job(database)
    with database.write() as session:
        session.execute(text("ANALYZE jobs"))  # also a sign for the next test not to take this database
        jobs.create_jobs(session, [jobs.NewJob(job_spec(seed=seed), "ann") for seed in range(200)])
        query = select_claimable("ann").limit(1)
        written = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(session.scalars(text(f"EXPLAIN {written}")))
        assert "ix_jobs_next_of_owner" in plan
        assert not _sorts(plan), plan


def test_the_newest_jobs_are_read_from_their_index_in_order(database: Database) -> None:
    with database.write() as session:
        plan = _plan(session, NEWEST)
    assert "ix_jobs_created_at_id" in plan
    assert not _sorts(plan), plan


def _plans(database: Database, query: Callable[[Session], object]) -> list[str]:
    """The plan of each statement of `query`."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.write() as session:
        query(session)
    event.remove(database.engine, "before_cursor_execute", note)
    on_sqlite = database.engine.dialect.name == "sqlite"
    with database.engine.connect() as connection:
        if not on_sqlite:
            # As above.
            connection.execute(text("SET enable_seqscan = off"))
            connection.execute(text("SET enable_bitmapscan = off"))
        explain = "EXPLAIN QUERY PLAN" if on_sqlite else "EXPLAIN"
        return [
            "\n".join(
                str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)
            )
            for statement, parameters in statements
        ]


DEEP = Cursor(datetime(2026, 1, 1, tzinfo=UTC), "job_1")
LISTS: dict[str, tuple[JobFilter, SortOrder, Cursor | None, str]] = {
    "all": (JobFilter(), SortOrder(), DEEP, "ix_jobs_created_at_id"),
    "state": (JobFilter(states=[JobState.FAILED]), SortOrder(), DEEP, "ix_jobs_state_created_at_id"),
    "dataset": (JobFilter(datasets=["mnist"]), SortOrder(), DEEP, "ix_jobs_dataset_created_at_id"),
    "technique": (
        JobFilter(techniques=["l2"]),
        SortOrder(),
        DEEP,
        "ix_job_techniques_technique_created_at_job_id",
    ),
    "label": (
        JobFilter(labels=[("a", "b")]),
        SortOrder(),
        DEEP,
        "ix_job_labels_name_value_created_at_job_id",
    ),
    "metric": (
        JobFilter(states=[JobState.SUCCEEDED]),
        SortOrder("test_accuracy"),
        Cursor(0.5, "job_1"),
        "ix_results_test_accuracy_job_id",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_page_deep_in_a_list_is_read_from_its_index_in_order(
    database: Database, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters, order, after, index = LISTS[name]
    # As if more than a few jobs fitted: in an empty table they would be sorted.
    monkeypatch.setattr("models.store.job_search._FEW", 0)
    *_, ids, _rows = _plans(
        database, lambda session: find_jobs(session, filters, after=after, limit=50, order=order)
    )
    assert index in ids
    assert not _sorts(ids), ids
    assert "SCAN jobs" not in ids
    assert "Seq Scan" not in ids


def test_a_queue_position_is_counted_in_its_index(database: Database) -> None:
    (plan,) = _plans(database, lambda session: get_queue_position(session, "job_1"))
    assert plan.count("ix_jobs_next") >= 2, plan


def test_judged_models_are_counted_in_an_index(database: Database) -> None:
    content = DatasetContent(digest="a" * 64, classes=3, train_examples=200, test_examples=40)
    for dataset, index in (
        (DatasetSpec(name="mnist_5k"), "ix_jobs_dataset_state_owner"),
        (DatasetSpec(name="mine", content=content), "ix_results_dataset_sha256_job_id"),
    ):
        plans = _plans(
            database.for_owner("ada"),
            lambda session, dataset=dataset: load_dataset_uses(session, "ada", [dataset]),
        )
        # Those of tuning are counted apart, and subtracted.
        assert "ix_jobs_tuning" in plans[0] or index in plans[0]
        assert index in plans[1]
