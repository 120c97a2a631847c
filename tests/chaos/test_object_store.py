"""An object store that fails at random while jobs are resumed, make checkpoints and store their models."""

import os
import time
from random import Random
from types import SimpleNamespace

import pytest

from models.artifacts import ArtifactStore
from models.settings import Settings
from models.states import JobState
from models.store import jobs, queue
from models.store.database import Database
from tests.chaos.fault_log import Tally
from tests.chaos.outcomes import count
from tests.chaos.quick_worker import quick_train
from tests.factories import job_spec
from tests.object_store import UnreliableFileSystem, outage
from worker import runner as runner_module
from worker.lease import get_worker_name


def test_an_object_store_that_fails_at_random(
    database: Database,
    database_settings: Settings,
    tally: Tally,
    full: bool,
    random: Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = database_settings.model_copy(
        update={"artifacts_url": "unreliable://models", "checkpoint_seconds": 0.0}
    )
    specs = [job_spec(seed=seed, training={"epochs": 4}) for seed in range(100 if full else 3)]
    with database.write() as session:
        job_ids = [job.id for job in jobs.create_jobs(session, [jobs.NewJob(spec) for spec in specs])]

    def wait(_: float) -> None:
        # Now and then the worker shuts down while it waits, so that its job resumes at a checkpoint.
        if random.random() < 0.3:
            with database.write() as session:
                queue.release_all(session, get_worker_name(os.getppid()))

    monkeypatch.setattr(runner_module, "train", quick_train)
    monkeypatch.setattr(runner_module, "time", SimpleNamespace(sleep=wait, monotonic=time.monotonic))
    monkeypatch.setattr(UnreliableFileSystem, "chance", random)
    runner = runner_module.Runner(settings)
    with outage(share=0.4) as store:
        while runner.run_next():
            pass
        tally.faults += store.failed
    runner.close()
    count(database, tally, dict.fromkeys(job_ids, JobState.SUCCEEDED))
    with database.read() as session:
        results = [job.result for job in jobs.get_jobs(session, job_ids)]
    for result in results:
        assert result is not None
        assert ArtifactStore(settings).get(result.model_path, sha256=result.model_sha256)
