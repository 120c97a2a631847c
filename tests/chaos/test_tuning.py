"""Workers that are killed in any phase of tuning change no trial, and spend no epoch twice in the books."""

import os
import signal
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select, update

from models.experiments import ExperimentSpec
from models.run_key import Purpose
from models.settings import Settings
from models.states import JobState
from models.store.database import Database
from models.store.experiments import create_experiment, get_experiment
from models.store.tables import Epoch, Experiment, Job
from tests.chaos.fault_log import Tally
from tests.chaos.outcomes import wait_until
from tests.chaos.services import quick_worker
from tests.factories import job_spec

RATE = {"low": 1e-4, "high": 1e-2, "scale": "log"}


def build_spec(method: str, trials: int, seconds: float) -> ExperimentSpec:
    document = {
        "name": method,
        "base": job_spec(training={"epochs": 3}, labels={"seconds": str(seconds)}).model_dump(mode="json"),
        "variants": [{"name": "none"}, {"name": "l2", "changes": {"regularization": {"l2": {}}}}],
        "replicates": 1,
        "reuse": False,
        "tune": {
            "parameters": {"/training/optimizer/learning_rate": RATE},
            "trials": trials,
            "seeds_per_trial": 1,
            "method": method,
            "parallel": 2,
        },
    }
    return ExperimentSpec.model_validate(document)


def submit(database: Database, spec: ExperimentSpec) -> str:
    with database.write() as session:
        return create_experiment(session, spec, preset=None)[0].id


def has_finished(database: Database, experiment_id: str) -> bool:
    with database.read() as session:
        unfinished = select(func.count()).where(
            Job.experiment_id == experiment_id, Job.state.not_in([JobState.SUCCEEDED, JobState.CANCELLED])
        )
        growing = session.get_one(Experiment, experiment_id).auto_extending
        return not growing and session.scalar(unfinished) == 0


def get_outcome(database: Database, experiment_id: str) -> tuple[dict[str, Any], int, int]:
    """What tuning has decided, the epochs that its trials have spent, and how many jobs are judged."""
    with database.read() as session:
        jobs = select(Job.id).where(Job.experiment_id == experiment_id)
        tuning = jobs.where(Job.purpose == Purpose.TUNE)
        epochs = session.scalar(select(func.count()).where(Epoch.job_id.in_(tuning))) or 0
        judged = session.scalars(jobs.where(Job.purpose == Purpose.JUDGE)).all()
        return get_experiment(session, experiment_id).document["tune"], epochs, len(judged)


def kill_a_training_process(database: Database) -> bool:
    """Kill the process that trains a job, if one does."""
    with database.write() as session:
        owner = session.scalar(select(Job.lease_owner).where(Job.state == JobState.RUNNING).limit(1))
        # As often as it takes; by default the third crash fails a job.
        session.execute(update(Job).values(max_crashes=100))
    if owner is None:
        return False
    try:
        os.kill(int(owner.rpartition("/")[2]), signal.SIGKILL)
    except ProcessLookupError:
        # The last one has just killed it.
        return False
    return True


@pytest.mark.usefixtures("_only_at_length")
@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_killed_workers_change_no_trial(
    database: Database,
    database_settings: Settings,
    redis_socket: Path,
    tmp_path: Path,
    random: Random,
    tally: Tally,
) -> None:
    settings = database_settings.model_copy(
        update={
            "broker_url": f"redis+socket://{redis_socket}",
            "worker_concurrency": 1,
            "lease_seconds": 4.0,
            "sweep_seconds": 0.2,
            "redispatch_seconds": 1.0,
        }
    )
    for method, trials in ("halving", 9), ("tpe", 6):
        with quick_worker(settings, tmp_path / f"{method}.log"):
            undisturbed = submit(database, build_spec(method, trials, 0.0))
            wait_until(lambda job=undisturbed: has_finished(database, job))
            disturbed = submit(database, build_spec(method, trials, 0.05))
            kills = 0
            while not has_finished(database, disturbed):
                time.sleep(random.uniform(0.2, 1.0))
                if kills < 30:
                    kills += kill_a_training_process(database)
        spec = build_spec(method, trials, 0.0)
        assert spec.tune is not None
        decided, epochs, judged = get_outcome(database, undisturbed)
        assert get_outcome(database, disturbed) == (decided, epochs, judged)
        assert (epochs, judged) == (2 * spec.tune.count_epochs(3), 2)
        tally.faults += kills
