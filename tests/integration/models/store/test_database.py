"""Clock, zones and transactions of both databases."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from threading import Event as Signal

import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import IntegrityError

from models.errors import ServiceUnavailable
from models.settings import Settings
from models.store import jobs
from models.store.database import Database
from models.store.jobs import NewJob
from models.store.sql_functions import DatabaseNow
from models.store.tables import Experiment, Job
from models.store.transitions import get_database_now
from tests.factories import job_spec


def create(database: Database, after_seconds: float = 0.0) -> str:
    with database.write() as session:
        get_database_now(session)
        time.sleep(after_seconds)
        return jobs.create_jobs(session, [NewJob(job_spec())])[0].id


def test_the_databases_clock_is_utc(database: Database) -> None:
    before = datetime.now(UTC)
    with database.read() as session:
        now = get_database_now(session)
    assert now.utcoffset() == timedelta(0)
    # SQLite's clock counts milliseconds.
    assert before - timedelta(milliseconds=1) <= now <= datetime.now(UTC)


@pytest.mark.parametrize("seconds", [-3600.0, -0.25, 0.0, 0.25, 30.0, 86_400.0])
def test_a_time_offset_in_seconds(database: Database, seconds: float) -> None:
    with database.read() as session:
        now, then = session.execute(select(DatabaseNow(), DatabaseNow(seconds))).one()
    assert (then - now).total_seconds() == pytest.approx(seconds, abs=0.1)


def test_the_clock_moves_within_a_transaction(database: Database) -> None:
    with database.read() as session:
        first = get_database_now(session)
        # Until the database's own clock says so, however slow the machine.
        while get_database_now(session) == first:
            pass


def test_more_transactions_than_connections_raise_service_unavailable(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded = Database(database_settings)
    monkeypatch.setattr(crowded.engine.pool, "_timeout", 0.05)
    with ExitStack() as open_ones:
        for _ in range(15):
            open_ones.enter_context(crowded.read()).connection()
        with pytest.raises(ServiceUnavailable), crowded.read() as one_too_many:
            one_too_many.connection()
    crowded.close()


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("setting", "seconds"),
    [("default_transaction_read_only = on", 0.0), ("idle_in_transaction_session_timeout = 100", 1.0)],
    ids=["a standby", "cut off"],
)
def test_a_broken_connection_is_replaced(database: Database, setting: str, seconds: float) -> None:
    """What a connection sees after a failover, and a process that was frozen in a transaction."""
    with database.write() as session:
        session.execute(text(f"SET SESSION {setting}"))
    with pytest.raises(ServiceUnavailable):
        create(database, after_seconds=seconds)
    assert create(database)


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_connections_closed_while_idle_are_replaced(database: Database, database_settings: Settings) -> None:
    with ExitStack() as open_ones:
        for _ in range(3):
            open_ones.enter_context(database.read()).connection()
    other = Database(database_settings)
    with other.write() as session:
        session.execute(
            text(
                # Waits, up to so many milliseconds, until each is gone.
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.close()
    assert create(database)
    assert create(database)


def test_timestamps_are_compared_as_instants(database: Database) -> None:
    job_id = create(database)
    with database.read() as session:
        created = jobs.get_job(session, job_id).created_at
        soon = select(Job.id).where(Job.created_at < DatabaseNow(60))
        later = select(Job.id).where(Job.created_at > DatabaseNow(60))
        elsewhere = created.astimezone(timezone(timedelta(hours=9)))
        same = select(Job.id).where(Job.created_at == elsewhere)
        assert session.scalars(soon).all() == [job_id]
        assert session.scalars(later).all() == []
        assert session.scalars(same).all() == [job_id]


@pytest.mark.parametrize(
    ("column", "value"), [("state", "resting"), ("requested_action", "dance"), ("experiment_id", "exp_none")]
)
def test_the_database_itself_refuses_inconsistent_rows(database: Database, column: str, value: str) -> None:
    create(database)
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(update(Job).values({column: value}))


def test_a_reader_sees_what_was_committed_when_it_reads(database: Database) -> None:
    job_id = create(database)
    with database.write() as session:
        jobs.cancel_job(session, job_id)
    with database.read() as session:
        assert jobs.get_job(session, job_id).state == "cancelled"


def test_two_writers_take_turns(database: Database) -> None:
    """A change computed from what was read is not lost: 2 writers, 10 increments each."""
    job_id = create(database)

    def increment() -> None:
        for _ in range(10):
            with database.write() as session:
                row = session.scalars(select(Job.version).where(Job.id == job_id).with_for_update())
                session.execute(update(Job).where(Job.id == job_id).values(version=row.one() + 1))

    with ThreadPoolExecutor(2) as writers:
        for done in [writers.submit(increment), writers.submit(increment)]:
            done.result()
    with database.read() as session:
        assert jobs.get_job(session, job_id).version == 21


def test_threads_of_one_process_take_turns_before_they_begin_in_sqlite(settings: Settings) -> None:
    database = Database(settings)
    begun: list[str] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda *args: begun.append(args[2]) if "BEGIN" in args[2] else None,
    )
    waiting = Signal()

    def write() -> None:
        waiting.set()
        with database.for_owner("somebody").write() as session:
            session.execute(text("SELECT 1"))

    with ThreadPoolExecutor() as threads:
        with database.write() as session:
            session.execute(text("SELECT 1"))
            other = threads.submit(write)
            assert waiting.wait(10)
            with pytest.raises(TimeoutError):
                other.result(0.2)
            assert begun == ["BEGIN IMMEDIATE"]
        other.result(10)
    assert len(begun) == 2


def test_waiting_too_long_for_the_write_lock_is_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.store.database.SQLITE_BUSY_MILLISECONDS", 50)
    database = Database(settings)

    def write() -> None:
        with database.write():
            pass

    with ThreadPoolExecutor() as threads, database.write(), pytest.raises(ServiceUnavailable):
        threads.submit(write).result(10)


def test_readers_do_not_see_a_transaction_before_it_commits(database: Database) -> None:
    written, looked = Signal(), Signal()

    def write() -> None:
        with database.write() as session:
            session.add(Experiment(id="exp_1", name="x", document={}, created_at=get_database_now(session)))
            session.flush()
            written.set()
            assert looked.wait(30)

    with ThreadPoolExecutor(1) as writer:
        done = writer.submit(write)
        assert written.wait(30)
        with database.read() as session:
            before = session.scalars(select(Experiment.id)).all()
        looked.set()
        done.result()
    assert before == []
    with database.read() as session:
        assert session.scalars(select(Experiment.id)).all() == ["exp_1"]


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_postgresql_is_configured_to_notice_a_lost_server(database: Database) -> None:
    with database.read() as session:
        driver = session.connection().connection.driver_connection
    assert driver is not None
    agreed = driver.info.get_parameters()
    assert (agreed["tcp_user_timeout"], agreed["keepalives_idle"]) == ("10000", "5")
