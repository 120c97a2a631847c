"""The migrations create the tables, on both databases, and can be reverted."""

import itertools
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, MetaData, Table, event, inspect, select, text

from api.app import create_app
from migrations import configuration, exit_if_refused, head
from migrations.__main__ import main
from models.experiments import ExperimentSpec
from models.settings import Settings, get_settings
from models.spec import STORED, JobSpec
from models.store.database import Database
from models.store.experiments import create_experiment, get_experiment
from models.store.job_search import JobFilter, find_jobs
from models.store.jobs import NewJob, create_jobs
from models.store.readiness import read_schema
from models.store.tables import Base, JobLabel, JobTechnique, Run
from models.store.transitions import get_job
from tests.applications import application
from tests.factories import finish_job, finished_job, job_spec
from tests.integration.api.conftest import TestClient
from worker.app import check_database
from worker.sweeper import Sweeper

TABLES = set(Base.metadata.tables) | {"alembic_version"}


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def test_a_migrated_database_has_every_table_at_the_newest_revision(database: Database) -> None:
    assert tables(database) == TABLES
    with database.read() as session:
        revision = (
            session.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        )
    assert revision == head()


# Left out of the comparison (migrations/env.py); Alembic warns of it in words of its own.
@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_tables_and_migrations_agree(database_settings: Settings) -> None:
    # Raises where autogenerate would find something to migrate.
    command.check(configuration())


def test_downgrade_to_an_empty_database_and_upgrade_again(database: Database) -> None:
    command.downgrade(configuration(), "base")
    assert tables(database) == {"alembic_version"}
    command.upgrade(configuration(), "head")
    assert tables(database) == TABLES


def test_a_result_from_before_0002_keeps_its_values_and_lacks_the_new_ones(database: Database) -> None:
    job_id = finished_job(database).id
    command.downgrade(configuration(), "0001")
    database.close()
    old = Table("results", MetaData(), autoload_with=database.engine)
    with database.engine.connect() as connection:
        [before] = connection.execute(select(old)).mappings()
    assert "compilations" not in before
    command.upgrade(configuration(), "head")
    database.close()
    with database.read() as session:
        result = get_job(session, job_id).result
        assert result is not None
        assert {name: getattr(result, name) for name in before} == before
        assert (result.near_zero_weight_fraction, result.layers, result.confusion) == (None, None, None)
        assert result.compilations == 0
        assert result.regbench is None


def test_jobs_from_before_0006_are_listed_by_technique_and_label(database: Database) -> None:
    document = job_spec(regularization={"dropout": {"rate": 0.5}}).model_dump(mode="json")
    # Names with a dot were allowed then.
    spec = JobSpec.model_validate(document | {"labels": {"who.ever": 'say "x"'}}, context=STORED)
    job_id = finished_job(database, spec).id
    finished_job(database)
    command.downgrade(configuration(), "0005")
    command.upgrade(configuration(), "head")
    database.close()
    for filters in (JobFilter(techniques=["dropout"]), JobFilter(labels=[("who.ever", 'say "x"')])):
        with database.read() as session:
            assert [job.id for job in find_jobs(session, filters, after=None, limit=9)] == [job_id]


@pytest.mark.parametrize(
    ("revision", "statement", "occurrence"),
    [
        # The second page of rows: the first has been committed.
        ("0004", "INSERT INTO experiment_runs", 2),
        ("0005", "INSERT INTO job_techniques", 2),
        ("0030", "INDEX CONCURRENTLY ix_results_temperature_job_id", 1),
    ],
)
def test_an_interrupted_migration_of_a_large_table_continues(
    database: Database, monkeypatch: pytest.MonkeyPatch, revision: str, statement: str, occurrence: int
) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite rolls back what was interrupted")
    monkeypatch.setattr("migrations.online.ROWS_IN_BATCH", 2)
    regularization = {"l2": {"factor": 1e-3}}
    spec = JobSpec.model_validate({"name": "x", "labels": {"a": "b"}, "regularization": regularization})
    jobs = {finished_job(database, spec).id for _ in range(5)}
    runs = set()
    for name in ("x", "y", "z"):
        document = {"name": name, "variants": [{"name": "a"}, {"name": "b"}], "replicates": 1}
        with database.write() as session:
            experiment, new = create_experiment(session, ExperimentSpec.model_validate(document), preset=None)
            runs |= {(experiment.id, job.id) for job in new}
    command.downgrade(configuration(), revision)
    matches = itertools.count(1)

    def interrupt(*arguments: Any) -> None:
        if statement in arguments[2] and next(matches) == occurrence:
            raise InterruptedError

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with pytest.raises(InterruptedError):
            command.upgrade(configuration(), "head")
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)
    command.upgrade(configuration(), "head")
    database.close()
    with database.read() as session:
        assert set(session.execute(select(JobTechnique.job_id)).scalars()) == jobs
        assert set(session.execute(select(JobLabel.job_id)).scalars()) == jobs
        assert {tuple(run) for run in session.execute(select(Run.experiment_id, Run.job_id))} == runs
    command.check(configuration())


@pytest.mark.parametrize(
    ("late", "rule", "extended"),
    [((), None, False), ((1,), None, True), ((0, 1), None, True), ((1,), {"half_width": 1.0}, False)],
)
def test_experiments_from_before_0009_know_whether_seeds_were_added_later(
    database: Database, late: tuple[int, ...], rule: dict[str, object] | None, extended: bool
) -> None:
    document: dict[str, object] = {"name": "x", "variants": [{"name": "a"}, {"name": "b"}], "replicates": 2}
    if rule:
        document["stopping_rule"] = {"variant": "b", "max_jobs": 9} | rule
    with database.write() as session:
        experiment, new = create_experiment(session, ExperimentSpec.model_validate(document), preset=None)
        for job in new:
            if job.seed in late or (job.seed, job.variant) == (0, "a"):
                # The first is a retry, which is later than its experiment by itself.
                job.created_at += timedelta(minutes=5)
    command.downgrade(configuration(), "0008")
    command.upgrade(configuration(), "head")
    database.close()
    with database.read() as session:
        assert get_experiment(session, experiment.id).extended is extended


def test_no_migration_is_too_slow_for_postgresql(database: Database) -> None:
    if database.engine.dialect.name != "postgresql":
        pytest.skip("SQLite limits no statement")
    timeouts = []

    def read_timeout(connection: Connection) -> None:
        timeouts.append(connection.exec_driver_sql("SHOW statement_timeout").scalar_one())

    event.listen(Engine, "commit", read_timeout)
    try:
        command.downgrade(configuration(), "-1")
        command.upgrade(configuration(), "head")
    finally:
        event.remove(Engine, "commit", read_timeout)
    assert timeouts
    assert set(timeouts) == {"0"}


def test_a_database_of_a_newer_release_is_left_alone_and_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999', oldest_code = '9999'"))
    for arguments in ([], ["--check"]):
        monkeypatch.setattr("sys.argv", ["migrations", *arguments])
        with pytest.raises(SystemExit, match="at 9999, written by a newer release"):
            main()
    with database.write() as session:
        session.execute(
            text("UPDATE alembic_version SET version_num = :head, oldest_code = '0026'"), {"head": head()}
        )


@pytest.fixture
def newer_database(database: Database) -> Iterator[Database]:
    """As a newer release leaves it during a rolling upgrade: what is new need not be written."""
    changes = (
        "ALTER TABLE jobs ADD COLUMN newer TEXT",
        "ALTER TABLE experiments ADD COLUMN newer_flag BOOLEAN DEFAULT false NOT NULL",
        "CREATE TABLE newer (id INTEGER PRIMARY KEY)",
        "UPDATE alembic_version SET version_num = '9998'",
    )
    with database.write() as session:
        for statement in changes:
            session.execute(text(statement))
    yield database
    with database.write() as session:
        for statement in (
            "ALTER TABLE jobs DROP COLUMN newer",
            "ALTER TABLE experiments DROP COLUMN newer_flag",
            "DROP TABLE newer",
            f"UPDATE alembic_version SET version_num = '{head()}', oldest_code = '0026'",  # noqa: S608 (text of our own)
        ):
            session.execute(text(statement))


def test_this_release_serves_and_trains_beside_a_newer_database(
    newer_database: Database, database_settings: Settings
) -> None:
    exit_if_refused(database_settings)
    with TestClient(application(database_settings)) as client:
        assert client.get("/readyz").json()["checks"]["migrations"] == "ok"
        job = client.post("/v1/jobs", json=job_spec().model_dump(mode="json")).json()
        finish_job(newer_database, job["id"])
        assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == "succeeded"


def test_a_newer_database_that_this_release_does_not_work_with_is_refused(
    newer_database: Database, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with newer_database.write() as session:
        session.execute(text("UPDATE alembic_version SET oldest_code = '9998'"))
    message = "at 9998, written by a newer release"
    with pytest.raises(SystemExit, match=message):
        create_app()
    with pytest.raises(SystemExit, match=message):
        check_database()
    signals: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, number: signals.append(number))
    Sweeper(database_settings).run_once()
    assert signals == [signal.SIGTERM]
    with TestClient(application(database_settings)) as client:
        assert message in client.get("/readyz").json()["checks"]["migrations"]


def test_tuning_jobs_from_before_0032_are_left_to_workers_that_know_them(database: Database) -> None:
    with database.write() as session:
        documents: list[dict[str, Any]] = [{"evaluation": {"test": False}}, {}]
        new = [NewJob(job_spec(**document)) for document in documents]
        job_ids = [job.id for job in create_jobs(session, new)]
    command.downgrade(configuration(), "0031")
    with database.engine.connect() as connection:
        assert read_schema(connection).oldest_code == "0026"
    command.upgrade(configuration(), "head")
    database.close()
    with database.read() as session:
        assert [get_job(session, job_id).spec_format for job_id in job_ids] == [2, 1]
        # Workers of before compare no format.
        assert read_schema(session.connection()).oldest_code == "0032"


def test_a_migration_that_waits_for_a_table_says_that_the_database_is_in_use(database: Database) -> None:
    if database.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one lock for all")
    command.downgrade(configuration(), "0012")  # the next one changes a table of these
    with database.write() as session:
        session.execute(text("LOCK TABLE experiments, experiment_runs, jobs, results, deliveries"))
        with pytest.raises(SystemExit, match="in use: canceling statement due to lock timeout"):
            main()


def test_a_second_migration_changes_nothing(database: Database) -> None:
    main()
    assert tables(database) == TABLES


def test_constraints_that_autogenerate_does_not_compare_exist(database: Database) -> None:
    constraints = {check["name"] for check in inspect(database.engine).get_check_constraints("jobs")}
    assert constraints == {"ck_jobs_state", "ck_jobs_requested_action"}


def test_the_embedded_database_is_created_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "new" / "home"
    monkeypatch.setenv("REGBENCH_HOME", str(home))
    get_settings.cache_clear()
    main()
    database = Database(get_settings())
    assert tables(database) == TABLES
    database.close()
    get_settings.cache_clear()
    assert (home / "regbench.db").is_file()
