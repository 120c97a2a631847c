"""Which files are removed, and above all which are not."""

import os
import subprocess
import sys

import pytest
from sqlalchemy import update

from models.artifacts import ArtifactStore, parse_job_id
from models.retention import prune
from models.settings import Settings
from models.store import jobs, queue
from models.store.audit import record
from models.store.database import Database
from models.store.sql_functions import DatabaseNow
from models.store.tables import Job
from tests.factories import finished_job, job_spec

DAY = 86_400.0


@pytest.fixture
def store(database_settings: Settings) -> ArtifactStore:
    return ArtifactStore(database_settings)


def finished(database: Database, store: ArtifactStore, *, days_ago: float) -> list[str]:
    """The files of a job that finished so long ago, including a leftover checkpoint."""
    job = finished_job(database)
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job.id).values(finished_at=DatabaseNow(-days_ago * DAY)))
    files = [f"jobs/{job.id}/1/{name}" for name in ("checkpoint-0002-ab.npz", "model.keras")]
    for name in files:
        store.put(name, b"12345")
    return files


def running(database: Database, store: ArtifactStore) -> str:
    """The checkpoint of a job in training."""
    with database.write() as session:
        job_id = jobs.create_jobs(session, [jobs.NewJob(job_spec())])[0].id
        assert queue.claim(session, job_id, owner="test", lease_seconds=30)
    name = f"jobs/{job_id}/1/checkpoint-0001-ab.npz"
    store.put(name, b"1")
    return name


def test_only_checkpoints_of_ended_jobs_are_removed(database: Database, store: ArtifactStore) -> None:
    forgotten, model = finished(database, store, days_ago=400)
    needed, stranger = running(database, store), "jobs/job_of_another_database/1/checkpoint-0001-ab.npz"
    store.put(stranger, b"1")
    pruned = prune(database, store)
    assert (pruned.files, pruned.bytes, pruned.unknown) == (1, 5, 1)
    assert set(store.list_files()) == {model, needed, stranger}
    assert forgotten not in store.list_files()


def test_partial_files_are_removed_once_their_job_has_ended(database: Database, store: ArtifactStore) -> None:
    _, model = finished(database, store, days_ago=1)
    needed = running(database, store)
    folder, writing = model.rpartition("/")[0], f"{needed.rpartition('/')[0]}/.model.keras.1f.part"
    for name in (f"{folder}/.checkpoint-0003-cd.npz.0a.part", f"{folder}/.model.keras.0b.part", writing):
        store.put(name, b"12")
    assert prune(database, store).files == 3
    assert set(store.list_files()) == {model, needed, writing}


def test_models_are_removed_after_the_configured_days(database: Database, store: ArtifactStore) -> None:
    finished(database, store, days_ago=31)
    _, young_model = finished(database, store, days_ago=29)
    needed = running(database, store)
    assert prune(database, store, days=30).files == 3
    assert set(store.list_files()) == {young_model, needed}


def test_d5_files_of_deleted_jobs_are_removed(database: Database, store: ArtifactStore) -> None:
    files = finished(database, store, days_ago=1)
    needed = running(database, store)
    job_id = parse_job_id(files[0])
    with database.write() as session:
        jobs.delete_job(session, job_id)
        record(session, "job_deleted", job_id, owner="local")
    pruned = prune(database, store)
    assert (pruned.files, pruned.unknown) == (2, 0)
    assert set(store.list_files()) == {needed}


def test_a_dry_run_removes_no_file(database: Database, store: ArtifactStore) -> None:
    files = finished(database, store, days_ago=31)
    assert prune(database, store, days=30, dry_run=True).files == 2
    assert set(store.list_files()) == set(files)


def test_an_empty_store(database: Database, store: ArtifactStore) -> None:
    assert prune(database, store, days=1).files == 0


def test_the_command(database: Database, store: ArtifactStore, database_settings: Settings) -> None:
    finished(database, store, days_ago=31)
    done = subprocess.run(
        [sys.executable, "-m", "regbench.cli.main", "prune", "--days", "30"],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2 file(s), 0.0 MB removed.\n"
    assert store.list_files() == {}
