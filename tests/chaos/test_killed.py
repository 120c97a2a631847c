"""Real trainings whose process is killed, stopped or frozen end with the weights of an undisturbed one."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from models.settings import Settings
from models.spec import JobSpec
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.tables import Job
from models.store.transitions import get_job
from regbench.local.process import Child
from tests.chaos.fault_log import Tally
from tests.chaos.faults import frozen
from tests.chaos.outcomes import all_ended, count, wait_until
from tests.chaos.services import real_worker
from tests.factories import job_spec

# Few enough to be killed one by one; enough for two faults; so many that a job lasts longer than a worker's
# restart.
FEW, SOME, MANY = 10, 20, 40


def spec(epochs: int) -> JobSpec:
    """Every technique with a state from epoch to epoch; large enough that each epoch can be caught."""
    return job_spec(
        model={"hidden_units": [256]},
        regularization={
            "dropout": {"rate": 0.3},
            "batch_normalization": {},
            "early_stopping": {"patience": epochs},
        },
        training={"epochs": epochs},
    )


class Site:
    """A database, and the workers on it: started, killed and started again."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self.settings, self._stack = settings, stack
        self.database = Database(settings)
        stack.callback(self.database.close)
        self._started = 0
        self.worker = self.start()

    def start(self) -> Child:
        """One more worker, which is the one to disturb from now on."""
        self._started += 1
        log = self.settings.home / f"worker-{self._started}.log"
        self.worker = self._stack.enter_context(real_worker(self.settings, log))
        return self.worker

    def submit(self, epochs: int) -> str:
        """A job that may crash once for each epoch; by default the third crash fails it."""
        with self.database.write() as session:
            (job,) = jobs.create_jobs(session, [jobs.NewJob(spec(epochs))])
            job.max_crashes = 2 * epochs
        return job.id

    def undisturbed(self, epochs: int) -> str:
        """The weights' digest of an undisturbed job."""
        job_id = self.submit(epochs)
        wait_until(lambda: all_ended(self.database, [job_id]))
        result = self.job(job_id).result
        assert result is not None
        return result.weights_sha256

    def job(self, job_id: str) -> Job:
        """The job as stored."""
        with self.database.read() as session:
            return get_job(session, job_id)

    def train(self, job_id: str, attempt: int, epochs: int) -> int:
        """Wait until an attempt has done so many epochs; returns the process that trains it."""
        wait_until(lambda: self._reached(self.job(job_id), attempt, epochs))
        return int((self.job(job_id).lease_owner or "0").rpartition("/")[2])

    @staticmethod
    def _reached(job: Job, attempt: int, epochs: int) -> bool:
        assert not JobState(job.state).terminal, "it ended before it could be disturbed"
        return job.state == JobState.RUNNING and job.attempt == attempt and job.epochs_done >= epochs


@pytest.fixture
def site(database_settings: Settings, redis_socket: Path, full: bool) -> Iterator[Site]:
    if not full and database_settings.database_url.startswith("sqlite"):
        pytest.skip("SQLite only at length: each fault takes TensorFlow's import")
    settings = database_settings.model_copy(
        update={
            "broker_url": f"redis+socket://{redis_socket}",
            "worker_concurrency": 1,
            "checkpoint_seconds": 0.0,
            "lease_seconds": 4.0,
            "sweep_seconds": 0.5,
            "redispatch_seconds": 1.0,
        }
    )
    with ExitStack() as stack:
        yield Site(settings, stack)


def killed_child(site: Site, job_id: str, attempt: int, epochs: int) -> None:
    """Its training process is killed; Celery starts another."""
    os.kill(site.train(job_id, attempt, epochs), signal.SIGKILL)


def damaged(site: Site, job_id: str, attempt: int, epochs: int) -> None:
    """The same, and the newest checkpoint is damaged before the other process can read it."""
    pid = site.train(job_id, attempt, epochs)
    os.kill(pid, signal.SIGSTOP)
    named = site.settings.home / "artifacts" / (site.job(job_id).checkpoint_path or "")
    content = bytearray(named.read_bytes())
    content[len(content) // 2] ^= 1
    named.write_bytes(content)
    os.kill(pid, signal.SIGKILL)


def killed_worker(site: Site, job_id: str, attempt: int, epochs: int) -> None:
    """The whole worker is killed, and another is started."""
    site.train(job_id, attempt, epochs)
    os.killpg(site.worker.pid, signal.SIGKILL)
    site.start()


def stopped_worker(site: Site, job_id: str, attempt: int, epochs: int) -> None:
    """The worker gets SIGTERM, and another is started."""
    site.train(job_id, attempt, epochs)
    crashes = site.job(job_id).crashes
    site.worker.stop(30.0)
    assert site.job(job_id).crashes == crashes
    site.start()


def frozen_worker(site: Site, job_id: str, attempt: int, epochs: int) -> None:
    """The worker is frozen past its lease; it wakes up while another trains the job."""
    site.train(job_id, attempt, epochs)
    worker = site.worker
    with frozen(worker, site.database):
        site.start()
        site.train(job_id, attempt + 1, epochs)
    # Later faults apply to the worker that trains the job; of two workers it could be the other.
    worker.stop(30.0)


Fault = Callable[[Site, str, int, int], None]


class Disturbed(NamedTuple):
    """A job, the faults that it meets, and the epoch after which each comes."""

    epochs: int
    faults: list[Fault]
    after: list[int]


def plan(random: Random, *, full: bool) -> list[Disturbed]:
    """The jobs to disturb."""

    def scattered(faults: list[Fault], epochs: int) -> Disturbed:
        # In the first half, so that no job ends before its last fault.
        return Disturbed(epochs, faults, sorted(random.sample(range(1, epochs // 2), k=len(faults))))

    if not full:
        # Each costs a process's start, with TensorFlow's import.
        child, worker = random.choice([killed_child, damaged]), random.choice([frozen_worker, killed_worker])
        return [scattered([child, worker], SOME)]
    others: list[Fault] = [damaged, killed_worker, stopped_worker, frozen_worker]
    each_epoch = Disturbed(FEW, [killed_child] * (FEW - 1), [*range(1, FEW)])
    several, repeated = random.sample(others, k=4), random.choices(others, k=4)
    return [each_epoch, scattered(several, MANY), scattered(repeated, MANY)]


def test_training_survives_processes_that_are_killed_stopped_and_frozen(
    site: Site, tally: Tally, random: Random, full: bool
) -> None:
    planned = plan(random, full=full)
    expected = {epochs: site.undisturbed(epochs) for epochs in {disturbed.epochs for disturbed in planned}}
    job_ids = []
    for disturbed in planned:
        job_id = site.submit(disturbed.epochs)
        job_ids.append(job_id)
        for attempt, (fault, epoch) in enumerate(
            zip(disturbed.faults, disturbed.after, strict=True), start=1
        ):
            fault(site, job_id, attempt, epoch)
            tally.faults += 1
        wait_until(lambda job_id=job_id: all_ended(site.database, [job_id]))
        assert site.job(job_id).attempt > len(disturbed.faults)
    count(
        site.database,
        tally,
        dict.fromkeys(job_ids, JobState.SUCCEEDED),
        weights_of=lambda spec: expected[spec.training.epochs],
    )
