"""When a training process dies, its parent rescues its job immediately, and no other job."""

import os
import subprocess
import sys
import time

import pytest

from models.artifacts import ArtifactStore
from models.settings import Settings
from models.states import JobState
from models.store import jobs, queue, webhooks
from models.store.database import Database
from models.store.rescue import find_undispatched_jobs, rescue_abandoned
from models.store.sql_functions import DatabaseNow
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


def shift_clock(database: Database, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """Set the database's clock, of which everything here is an offset."""
    initialize = DatabaseNow.__init__
    monkeypatch.setattr(
        DatabaseNow,
        "__init__",
        lambda self, offset_seconds=0.0: initialize(self, offset_seconds + hours * 3600),
    )


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


@pytest.mark.parametrize("hours", [-2, 2])
def test_d7_a_change_of_the_databases_clock_spares_every_lease_once(
    database: Database, database_settings: Settings, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    settings = database_settings.model_copy(update={"lease_seconds": 0.5})
    sweeper, job_id = Sweeper(settings), claim_as(database, "another:1/2", lease_seconds=30)
    sweeper.run_once()
    shift_clock(database, monkeypatch, hours)
    sweeper.run_once()
    assert (the(database, job_id).state, the(database, job_id).crashes) == (JobState.RUNNING, 0)
    time.sleep(0.6)
    sweeper.run_once()
    # Its worker has not come back.
    assert (the(database, job_id).state, the(database, job_id).crashes) == (JobState.QUEUED, 1)


def test_d7_a_clock_that_is_set_back_delays_no_job_and_no_message(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as session:
        webhooks.create_webhook(
            session, "local", url="http://127.0.0.1/", states=[JobState.CANCELLED], secret=None
        )
        new, cancelled, crashed = jobs.create_jobs(session, [jobs.NewJob(job_spec())] * 3)
        jobs.cancel_job(session, cancelled.id)
        queue.claim(session, crashed.id, owner="another:1/2", lease_seconds=-1)
        rescue_abandoned(session)
        queue.mark_dispatched(session, [new.id])
    shift_clock(database, monkeypatch, hours=-2)
    with database.write() as session:
        assert len(webhooks.claim_due_deliveries(session, limit=9)) == 1
        assert webhooks.claim_due_deliveries(session, limit=9) == []
        assert new.id in find_undispatched_jobs(session, older_than_seconds=30, limit=9)
        claimed = [queue.claim_next(session, owner="w", lease_seconds=30) for _ in range(3)]
    assert [job and job.id for job in claimed] == [new.id, crashed.id, None]


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
