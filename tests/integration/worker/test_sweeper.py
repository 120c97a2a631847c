"""When a training process dies, its parent rescues its job immediately, and no other job."""

import os
import subprocess
import sys

import pytest

from models.artifacts import ArtifactStore
from models.settings import Settings
from models.states import JobState
from models.store import jobs, queue
from models.store.database import Database
from models.store.tables import Job
from tests.factories import finished_job, job_spec
from worker import fork_safety
from worker.lease import get_worker_name
from worker.sweeper import Sweeper


def claim_as(database: Database, owner: str, lease_seconds: float = 3600) -> str:
    """A claimed job whose lease lasts another hour by default."""
    with database.write() as session:
        (job,) = jobs.create_jobs(session, [jobs.NewJob(job_spec())])
        assert queue.claim(session, job.id, owner=owner, lease_seconds=lease_seconds)
    return job.id


def the(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get_job(session, job_id)


def test_a_childs_death_is_detected_before_its_lease_expires(
    database: Database, database_settings: Settings
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    own, other = get_worker_name(os.getpid()), get_worker_name(os.getpid() + 1)
    orphan = claim_as(database, f"{own}/{gone.pid}")
    alive = claim_as(database, f"{own}/{os.getpid()}")
    elsewhere = claim_as(database, f"{other}/{gone.pid}")
    Sweeper(database_settings).run_once()
    job = the(database, orphan)
    assert (job.state, job.crashes, job.lease_owner) == (JobState.QUEUED, 1, None)
    for job_id in (alive, elsewhere):
        assert (the(database, job_id).state, the(database, job_id).crashes) == (JobState.RUNNING, 0)
    with database.read() as session:
        last = jobs.get_events(session, orphan)[-1]
    assert last.detail["reason"] == "process_died"


def test_a_process_id_reused_by_another_user_does_not_stop_the_sweep(
    database: Database, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_ours(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", not_ours)
    reused = claim_as(database, f"{get_worker_name(os.getpid())}/1")
    expired = claim_as(database, "another:1/2", lease_seconds=-1)
    Sweeper(database_settings).run_once()
    assert (the(database, reused).state, the(database, expired).state) == (JobState.RUNNING, JobState.QUEUED)


def test_a_slow_store_does_not_delay_forking(
    database: Database, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(database_settings)
    crashed = claim_as(database, "another:1/2", lease_seconds=-1)
    with database.write() as session:
        jobs.get_job(session, crashed).max_crashes = 1
    forgotten = finished_job(database).id
    for job_id in (crashed, forgotten):
        store.put(f"jobs/{job_id}/1/checkpoint-0001-ab.npz", b"1")
    removed, remove = [], ArtifactStore.remove

    def observed(store: ArtifactStore, name: str) -> None:
        assert not fork_safety._no_fork.locked()
        removed.append(name.split("/")[1])
        remove(store, name)

    monkeypatch.setattr(ArtifactStore, "remove", observed)
    Sweeper(database_settings).run_once()
    assert removed == [crashed, forgotten]
    assert store.list_files() == {}


def test_a_worker_with_the_same_host_name_and_process_number_keeps_its_jobs(
    database: Database, database_settings: Settings
) -> None:
    # As in two containers with the same host name: the other worker's child is not in this process namespace.
    program = f"from worker.lease import get_worker_name; print(get_worker_name({os.getpid()}))"
    twin = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    job_id = claim_as(database, f"{twin.stdout.strip()}/{gone.pid}")
    Sweeper(database_settings).run_once()
    with database.write() as session:
        assert queue.release_all(session, get_worker_name(os.getpid())) == 0
    assert (the(database, job_id).state, the(database, job_id).crashes) == (JobState.RUNNING, 0)
